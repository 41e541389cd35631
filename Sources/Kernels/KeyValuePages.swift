/// The shape of a key/value page: `blockLength` positions of every key/value head of one layer.
///
/// Keys are stored transposed ([headDimension][64]) so that scores of 64 keys come from contiguous loads without a
/// horizontal sum; values are [64][headDimension]. The head dimension is padded to a multiple of 16 with zeros.
public struct PageGeometry: Sendable, Equatable {
  /// Keys are reduced in blocks of this many positions, anchored at position 0 (DESIGN 4).
  public static let blockLength = 64

  public let keyValueHeads: Int
  public let headDimension: Int
  public let paddedHeadDimension: Int

  public init(keyValueHeads: Int, headDimension: Int) {
    self.keyValueHeads = keyValueHeads
    self.headDimension = headDimension
    paddedHeadDimension = (headDimension + 15) / 16 * 16
  }

  /// Elements of one head's keys (or values) in a page.
  public var blockElements: Int { Self.blockLength * paddedHeadDimension }
  /// Elements of a page: keys and values of all heads.
  public var pageElements: Int { keyValueHeads * 2 * blockElements }

  /// Pages that hold `positions` positions.
  public static func pageCount(positions: Int) -> Int { (positions + blockLength - 1) / blockLength }
}

/// A pool of key/value pages for every layer of a model; sequences refer to pages by index.
///
/// A forked sequence shares its parent's full pages and copies the last, partly filled one.
public final class KeyValuePages: @unchecked Sendable {
  // Unchecked: the engine that owns the pool writes distinct pages from the team's threads and reads after they join.
  public let geometry: PageGeometry
  public let layers: Int
  public let pages: Int
  public let computeType: ComputeType
  private let storage: OperandBuffer

  public init(geometry: PageGeometry, layers: Int, pages: Int, computeType: ComputeType) {
    self.geometry = geometry
    self.layers = layers
    self.pages = pages
    self.computeType = computeType
    storage = OperandBuffer(count: layers * pages * geometry.pageElements, computeType: computeType)
  }

  /// Page 0 of a layer; page p follows at `p * geometry.pageElements`.
  public func base(layer: Int) -> Operand { storage.operand.advanced(by: layer * pages * geometry.pageElements) }

  /// Stores one position's keys and values (each keyValueHeads x headDimension), rounded to the pool's type.
  @inline(__always)
  public func write(
    layer: Int, page: Int, slot: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) {
    switch base(layer: layer).advanced(by: page * geometry.pageElements) {
    case .float32(let page): store(page, slot, keys, values)
    case .bfloat16(let page): store(page, slot, keys, values)
    }
  }

  /// Copies a page in every layer.
  public func copyPage(from source: Int, to destination: Int) {
    let count = geometry.pageElements
    for layer in 0..<layers {
      switch base(layer: layer) {
      case .float32(let base): (base + destination * count).update(from: base + source * count, count: count)
      case .bfloat16(let base): (base + destination * count).update(from: base + source * count, count: count)
      }
    }
  }

  @inline(__always)
  private func store<Element: ActivationElement>(
    _ page: UnsafeMutablePointer<Element>, _ slot: Int, _ keys: UnsafePointer<Float>, _ values: UnsafePointer<Float>
  ) {
    let (width, padded) = (geometry.headDimension, geometry.paddedHeadDimension)
    withUnsafeTemporaryAllocation(of: Element.self, capacity: width) { rounded in
      let rounded = rounded.baseAddress!
      for head in 0..<geometry.keyValueHeads {
        let keyBlock = page + head * 2 * geometry.blockElements
        roundRow(values + head * width, into: keyBlock + geometry.blockElements + slot * padded, count: width)
        roundRow(keys + head * width, into: rounded, count: width)
        var to = keyBlock + slot
        for index in 0..<width {
          to.pointee = rounded[index]
          to += PageGeometry.blockLength
        }
      }
    }
  }
}
