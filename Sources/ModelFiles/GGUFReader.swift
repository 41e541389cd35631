/// The header of a GGUF file, version 2 or 3: metadata and the place of every tensor.
struct GGUFFile: Sendable {
  let metadata: GGUFMetadata
  /// By GGUF name; only those of a supported type.
  let tensors: [String: StoredTensor]
  /// GGUF name to type name, for tensors whose type is not supported.
  let unsupported: [String: String]

  static let countLimit: UInt64 = 1 << 16

  /// Maps the file and checks its whole header. Throws `ModelFileError`.
  init(path: String) throws {
    let file = try MappedFile(path: path)
    var cursor = GGUFCursor(bytes: file.bytes, path: path)
    guard try cursor.read(UInt32.self, "the magic number") == 0x4655_4747 else {
      throw cursor.failure("is not a GGUF file (it does not begin with 'GGUF')")
    }
    let version = try cursor.read(UInt32.self, "the version")
    guard version == 2 || version == 3 else {
      let reason = version.byteSwapped <= 3 ? "is a big-endian GGUF file" : "has GGUF version \(version)"
      throw cursor.failure(reason + "; supported: little-endian, version 2 and 3")
    }
    let tensorCount = try cursor.read(UInt64.self, "the tensor count")
    let valueCount = try cursor.read(UInt64.self, "the metadata count")
    guard tensorCount <= Self.countLimit, valueCount <= Self.countLimit else {
      throw cursor.failure("claims \(tensorCount) tensors and \(valueCount) metadata values; the file is damaged")
    }
    var values: [String: GGUFValue] = [:]
    for ordinal in 0..<valueCount {
      let key = try cursor.readString("metadata key \(ordinal)")
      let type = try cursor.read(UInt32.self, "metadata \(key)")
      let value = try cursor.readValue(type: type, key: key)
      guard values.updateValue(value, forKey: key) == nil else { throw cursor.failure("metadata \(key) occurs twice") }
    }
    metadata = GGUFMetadata(path: path, values: values)
    let alignment = try metadata.integer("general.alignment") ?? 32
    guard alignment > 0, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
      throw cursor.failure("general.alignment is \(alignment); it must be a power of two up to 2^20")
    }
    var entries: [Entry] = []
    for ordinal in 0..<tensorCount { entries.append(try Entry(&cursor, ordinal: ordinal)) }
    let dataStart = (cursor.position + alignment - 1) & ~(alignment - 1)
    (tensors, unsupported) = try Self.place(entries, in: file, dataStart: dataStart, alignment: alignment)
  }

  /// A tensor's header entry, not yet checked against the file's size.
  private struct Entry {
    var name: String
    /// GGUF order: the fastest-varying dimension first.
    var dimensions: [Int] = []
    var elements = 1
    var type: UInt32
    var offset: UInt64

    init(_ cursor: inout GGUFCursor, ordinal: UInt64) throws {
      name = try cursor.readString("the name of tensor \(ordinal)")
      let count = try cursor.read(UInt32.self, "tensor \(name)")
      guard (1...4).contains(count) else { throw cursor.failure("tensor \(name) claims \(count) dimensions") }
      for _ in 0..<count {
        let dimension = try cursor.read(UInt64.self, "tensor \(name)")
        guard let exact = Int(exactly: dimension) else {
          throw cursor.failure("tensor \(name) is too large to address")
        }
        let (product, overflow) = elements.multipliedReportingOverflow(by: exact)
        guard !overflow else { throw cursor.failure("tensor \(name) is too large to address") }
        elements = product
        dimensions.append(exact)
      }
      type = try cursor.read(UInt32.self, "tensor \(name)")
      offset = try cursor.read(UInt64.self, "tensor \(name)")
    }
  }

  private static func place(
    _ entries: [Entry], in file: MappedFile, dataStart: Int, alignment: Int
  ) throws -> ([String: StoredTensor], [String: String]) {
    var tensors: [String: StoredTensor] = [:]
    var unsupported: [String: String] = [:]
    for entry in entries {
      func failure(_ reason: String) -> ModelFileError {
        ModelFileError(path: file.path, reason: "tensor \(entry.name): \(reason)")
      }
      guard tensors[entry.name] == nil, unsupported[entry.name] == nil else { throw failure("occurs twice") }
      guard let type = StoredElementType.ggmlTypes[entry.type] else {
        unsupported[entry.name] = StoredElementType.ggmlName(entry.type)
        continue
      }
      guard entry.dimensions[0] % type.blockElements == 0 else {
        throw failure(
          "its rows of \(entry.dimensions[0]) are not whole \(type.rawValue) blocks of \(type.blockElements)")
      }
      guard let size = type.byteCount(elements: entry.elements) else { throw failure("is too large to address") }
      guard let relative = Int(exactly: entry.offset), relative % alignment == 0 else {
        throw failure("its offset \(entry.offset) is not a multiple of the alignment \(alignment)")
      }
      let (begin, overflow) = dataStart.addingReportingOverflow(relative)
      guard !overflow, begin <= file.bytes.count, file.bytes.count - begin >= size else {
        let available = overflow ? 0 : max(0, file.bytes.count - begin)
        throw failure("needs \(size) bytes, the file holds \(available) of them; the download was probably interrupted")
      }
      tensors[entry.name] = StoredTensor(
        file: file, storedName: entry.name, type: type, shape: entry.dimensions.reversed(), offset: begin,
        byteCount: size, interleavedHeads: nil)
    }
    let ordered = tensors.values.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
    for (left, right) in zip(ordered, ordered.dropFirst()) where left.offset + left.byteCount > right.offset {
      throw ModelFileError(
        path: file.path,
        reason: "tensors \(left.storedName) and \(right.storedName) overlap; the header is damaged")
    }
    return (tensors, unsupported)
  }
}
