import JSON

/// The header of one safetensors file: an 8-byte little-endian length, JSON, then the tensors' bytes.
struct SafetensorsFile: Sendable {
  let tensors: [String: StoredTensor]
  let metadata: [String: String]

  /// The format's own limit.
  static let headerLimit = 100_000_000

  /// Maps the file and checks the whole header: every tensor's type, its size against its shape, its place within the
  /// file, no overlaps. Throws `ModelFileError`.
  init(path: String) throws {
    let file = try MappedFile(path: path)
    func failure(_ reason: String) -> ModelFileError { ModelFileError(path: path, reason: reason) }
    guard file.bytes.count >= 8 else {
      throw failure("is too short (\(file.bytes.count) bytes) for a safetensors file")
    }
    let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
    guard length >= 2, length <= UInt64(Self.headerLimit) else {
      throw failure("is not a safetensors file: its header claims \(length) bytes")
    }
    let headerBytes = Int(length)
    guard headerBytes <= file.bytes.count - 8 else {
      throw failure("is cut short: its header needs \(headerBytes + 8) bytes, the file has \(file.bytes.count)")
    }
    let json = try JSONValue(parsing: UnsafeRawBufferPointer(rebasing: file.bytes[8..<(8 + headerBytes)]), path: path)
    guard let header = json.objectValue else { throw failure("the safetensors header is not a JSON object") }
    let dataStart = 8 + headerBytes
    var tensors: [String: StoredTensor] = [:]
    var metadata: [String: String] = [:]
    for (name, entry) in header.members {
      if name == "__metadata__" {
        for (key, value) in entry.objectValue?.members ?? [] { metadata[key] = value.stringValue ?? "" }
        continue
      }
      tensors[name] = try Self.tensor(name, entry, file: file, dataStart: dataStart)
    }
    let ordered = tensors.values.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
    for (left, right) in zip(ordered, ordered.dropFirst()) where left.offset + left.byteCount > right.offset {
      throw failure("tensors \(left.storedName) and \(right.storedName) overlap; the header is damaged")
    }
    self.tensors = tensors
    self.metadata = metadata
  }

  private static func tensor(_ name: String, _ entry: JSONValue, file: MappedFile, dataStart: Int) throws
    -> StoredTensor
  {
    func failure(_ reason: String) -> ModelFileError {
      ModelFileError(path: file.path, reason: "tensor \(name): \(reason)")
    }
    guard let typeName = entry["dtype"]?.stringValue, let shape = entry["shape"]?.arrayValue?.map(\.integerValue),
      let offsets = entry["data_offsets"]?.arrayValue?.map(\.integerValue), offsets.count == 2,
      let begin = offsets[0], let end = offsets[1]
    else { throw failure("the header entry lacks dtype, shape or data_offsets") }
    guard let type = StoredElementType.safetensorsTypes[typeName] else {
      throw failure("has type \(typeName); supported: F32, F16, BF16, F64")
    }
    guard shape.count <= 8 else { throw failure("has \(shape.count) dimensions") }
    var elements = 1
    for dimension in shape {
      guard let dimension, dimension >= 0 else { throw failure("has a negative or fractional dimension") }
      let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
      guard !overflow else { throw failure("has a shape too large to address") }
      elements = product
    }
    guard let expected = type.byteCount(elements: elements) else { throw failure("has a shape too large to address") }
    guard begin >= 0, end >= begin, end - begin == expected else {
      throw failure(
        "needs \(expected) bytes for \(typeName) \(shape.compactMap { $0 }), its data_offsets are [\(begin), \(end)]")
    }
    guard end <= file.bytes.count - dataStart else {
      let available = max(0, file.bytes.count - dataStart - begin)
      throw failure(
        "needs \(expected) bytes, the file holds \(available) of them; the download was probably interrupted")
    }
    return StoredTensor(
      file: file, storedName: name, type: type, shape: shape.compactMap { $0 }, offset: dataStart + begin,
      byteCount: expected, interleavedHeads: nil)
  }
}

/// All tensors of a Hugging Face directory: `model.safetensors`, or the shards `model.safetensors.index.json` names.
func readSafetensors(directory: String) throws -> [String: StoredTensor] {
  let indexPath = joined(directory, "model.safetensors.index.json")
  let singlePath = joined(directory, "model.safetensors")
  if fileExists(singlePath) { return try SafetensorsFile(path: singlePath).tensors }
  guard fileExists(indexPath) else {
    let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"].contains { fileExists(joined(directory, $0)) }
    throw ModelFileError(
      path: directory,
      reason: "holds neither model.safetensors nor model.safetensors.index.json"
        + (pickled
          ? "; its pickled pytorch_model.bin is not read: save the model again with safe_serialization=True" : ""))
  }
  func failure(_ reason: String) -> ModelFileError { ModelFileError(path: indexPath, reason: reason) }
  guard let map = try JSONValue(contentsOfFile: indexPath)["weight_map"]?.objectValue else {
    throw failure("weight_map is missing")
  }
  var shards: [String: SafetensorsFile] = [:]
  var tensors: [String: StoredTensor] = [:]
  for (name, value) in map.members {
    guard let shard = value.stringValue, !shard.isEmpty, !shard.contains("/"), shard != "..", !shard.contains("\0")
    else {
      throw failure("the shard of tensor \(name) is not a plain file name")
    }
    if shards[shard] == nil {
      let path = joined(directory, shard)
      guard fileExists(path) else { throw failure("names the shard \(shard), which is missing from the directory") }
      shards[shard] = try SafetensorsFile(path: path)
    }
    guard let tensor = shards[shard]?.tensors[name] else { throw failure("tensor \(name) is not in \(shard)") }
    tensors[name] = tensor
  }
  return tensors
}
