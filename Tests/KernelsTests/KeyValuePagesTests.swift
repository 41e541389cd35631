import Kernels
import Testing
import TestSupport

struct KeyValuePagesTests {
  @Test func geometry() {
    let geometry = PageGeometry(keyValueHeads: 3, headDimension: 20)
    #expect(geometry.paddedHeadDimension == 32 && geometry.blockElements == 64 * 32)
    #expect(geometry.pageElements == 3 * 2 * 64 * 32)
    #expect([0, 1, 64, 65, 128, 129].map { PageGeometry.pageCount(positions: $0) } == [0, 1, 1, 2, 2, 3])
  }

  @Test(arguments: ComputeType.allCases)
  func writesLandWhereTheLayoutSays(_ type: ComputeType) {
    let geometry = PageGeometry(keyValueHeads: 2, headDimension: 20)
    let pages = KeyValuePages(geometry: geometry, layers: 2, pages: 3, computeType: type)
    let (keys, values) = (randomValues(40, seed: 1), randomValues(40, seed: 2))
    pages.write(layer: 1, page: 2, slot: 63, keys: keys, values: values)
    func element(_ layer: Int, _ index: Int) -> Float {
      switch pages.base(layer: layer) {
      case .float32(let base): base[index]
      case .bfloat16(let base): Float(base[index])
      }
    }
    var (filled, total) = (0, 0)
    for layer in 0..<2 {
      for index in 0..<3 * geometry.pageElements {
        total += 1
        if element(layer, index) != 0 { filled += 1 }
      }
    }
    #expect(filled == 80, "of \(total) elements, those written and no others")
    for head in 0..<2 {
      let block = 2 * geometry.pageElements + head * 2 * geometry.blockElements
      for index in 0..<20 {
        #expect(element(1, block + index * 64 + 63) == stored([keys[head * 20 + index]], type)[0])
        #expect(
          element(1, block + geometry.blockElements + 63 * 32 + index) == stored([values[head * 20 + index]], type)[0])
      }
    }
    pages.copyPage(from: 2, to: 0)
    for index in 0..<geometry.pageElements {
      #expect(element(1, index).bitPattern == element(1, 2 * geometry.pageElements + index).bitPattern)
    }
    #expect((0..<geometry.pageElements).allSatisfy { element(1, geometry.pageElements + $0) == 0 })
  }
}
