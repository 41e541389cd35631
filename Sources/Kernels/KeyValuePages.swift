import CVectorKernels

/// The shape of a key/value page: `blockLength` positions of every key/value head of one layer.
///
/// Keys are stored transposed ([headDimension][64]) so that scores of 64 keys come from contiguous loads without a
/// horizontal sum; values are [64][headDimension]. The head dimension is padded to a multiple of 16 with zeros.
public struct PageGeometry: Sendable, Equatable {
  /// Keys are reduced in blocks of this many positions, anchored at position 0 (docs/numerics.md).
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
  public func write(
    layer: Int, page: Int, slot: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) {
    let width = geometry.headDimension
    for head in 0..<geometry.keyValueHeads {
      let place = Place(page: page, slot: slot, head: head)
      write(layer: layer, at: place, key: keys + head * width, value: values + head * width, next: place)
    }
  }

  /// A position of one key/value head.
  struct Place {
    var page: Int
    var slot: Int
    var head: Int
  }

  /// Stores one position of one head: key and value (headDimension each).
  ///
  /// A key touches a line of memory per component, so the lines of the `next` place to be written are asked for meanwhile.
  func write(layer: Int, at place: Place, key: UnsafePointer<Float>, value: UnsafePointer<Float>, next: Place) {
    let width = Int32(geometry.headDimension)
    let isWide = InstructionSet.current == .avx512
    let (column, row, nextColumn) = (keyOffset(place), valueOffset(place), keyOffset(next))
    switch base(layer: layer) {
    case .float32(let base):
      #if arch(x86_64)
        if isWide {
          return softgrpo_store_position_f32_avx512(key, value, width, base + column, base + row, base + nextColumn)
        }
      #endif
      softgrpo_store_position_f32_baseline(key, value, width, base + column, base + row, base + nextColumn)
    case .bfloat16(let base):
      let base = base.bits
      #if arch(x86_64)
        if isWide {
          return softgrpo_store_position_bf16_avx512(key, value, width, base + column, base + row, base + nextColumn)
        }
      #endif
      softgrpo_store_position_bf16_baseline(key, value, width, base + column, base + row, base + nextColumn)
    }
  }

  private func keyOffset(_ place: Place) -> Int {
    place.page * geometry.pageElements + place.head * 2 * geometry.blockElements + place.slot
  }

  private func valueOffset(_ place: Place) -> Int {
    place.page * geometry.pageElements + (place.head * 2 + 1) * geometry.blockElements
      + place.slot * geometry.paddedHeadDimension
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
}
