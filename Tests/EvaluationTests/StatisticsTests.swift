import Testing

@testable import Evaluation

/// Intervals and tests over prompts, against what can be counted by hand.
@Suite struct StatisticsTests {
  @Test(arguments: [0.1, 1.0 / 3, 0, 1]) func theBootstrapOfAConstantIsAPoint(value: Double) {
    let interval = bootstrapInterval(of: [Double](repeating: value, count: 7))
    #expect(interval == ConfidenceInterval(lower: value, upper: value))
  }

  @Test func nothingHasNoInterval() { #expect(bootstrapInterval(of: []) == nil) }

  /// Of 27 resamples of three values 8 have the mean 0, 12 have 1/3, 6 have 2/3 and one has 1.
  @Test func theBootstrapOfThreeValuesIsTheEnumeratedOne() throws {
    func interval(_ confidence: Double) throws -> ConfidenceInterval {
      try #require(bootstrapInterval(of: [0, 0, 1], confidence: confidence))
    }
    // 1/27 = 0.037 is more than a tail of 0.025 and less than one of 0.05; 7/27 = 0.26 is less than one of 0.3.
    #expect(try interval(0.95) == ConfidenceInterval(lower: 0, upper: 1))
    let middle = try interval(0.9)
    #expect(abs(middle.upper - 2.0 / 3) < 1e-12 && middle.lower == 0)
    let narrow = try interval(0.36)
    #expect(abs(narrow.upper - 1.0 / 3) < 1e-12 && abs(narrow.lower - 1.0 / 3) < 1e-12)
  }

  @Test func quantilesLieBetweenOrderStatistics() {
    #expect(quantile(0.5, ofSorted: [1, 2, 3, 4]) == 2.5)
    #expect(quantile(0, ofSorted: [1, 2, 3]) == 1 && quantile(1, ofSorted: [1, 2, 3]) == 3)
    #expect(quantile(0.975, ofSorted: [5]) == 5)
  }

  @Test func equalRowsDoNotDiffer() throws {
    let row: [Double?] = [0.5, nil, 1, 0]
    let found = try #require(pairedComparison(row, row))
    #expect(found.prompts == 3 && found.difference == 0 && found.pValue == 1)
    #expect(found.interval == ConfidenceInterval(lower: 0, upper: 0))
  }

  /// Differences, and how many of all assignments of signs have a sum at least as far from 0.
  @Test(
    arguments: [
      ([1, 1, 1], 2.0 / 8), ([1, 1, 1, 1, 1], 2.0 / 32), ([2, -1], 1), ([2, 1], 2.0 / 4), ([3, 1, -1], 6.0 / 8),
      ([1, 0, 0], 1), ([0.1, 0.2, 0.3], 2.0 / 8),
    ] as [([Double], Double)]) func signFlipsAreCounted(differences: [Double], p: Double) throws
  {
    let zeros = [Double?](repeating: 0, count: differences.count)
    #expect(try #require(pairedComparison(differences, zeros)).pValue == p)
    #expect(try #require(pairedComparison(zeros, differences)).pValue == p)
  }

  @Test func promptsWithoutAPartnerAreLeftOut() throws {
    let found = try #require(pairedComparison([1, nil, 0.5], [0, 1, nil]))
    #expect(found.prompts == 1 && found.difference == 1)
    #expect(pairedComparison([nil, 1], [1, nil]) == nil)
  }

  /// With many differences signs are drawn: the share is near the one that a binomial distribution gives.
  @Test func drawnSignsAgreeWithTheBinomial() throws {
    // 14 of 20 differences are above 0: P(|X - 10| >= 4) of X ~ B(20, 1/2) is 0.1153.
    let differences = (0..<20).map { $0 < 14 ? 1.0 : -1.0 }
    let found = try #require(pairedComparison(differences, [Double?](repeating: 0, count: 20)))
    #expect(abs(found.pValue - 0.1153) < 0.012 && abs(found.difference - 0.4) < 1e-12)
    #expect(found == pairedComparison(differences, [Double?](repeating: 0, count: 20)))
    let certain = try #require(pairedComparison([Double?](repeating: 1, count: 30), [Double?](repeating: 0, count: 30)))
    #expect(certain.pValue == 1.0 / 10_001)
  }
}
