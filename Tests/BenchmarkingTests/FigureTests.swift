import Testing

@testable import Benchmarking

struct FigureTests {
  @Test func medians() {
    #expect(median([3, 1, 2]) == 2 && median([4, 1, 3, 2]) == 2.5)
    #expect(medianIndex([3, 1, 2]) == 2)
    // Of an even count one that was measured.
    #expect(medianIndex([4, 1, 3, 2]) == 3)
  }
}
