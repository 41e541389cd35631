import Foundation
import JSON
import Kernels

/// Writes safetensors files one tensor at a time, so that no second copy of the model is held.
public struct SafetensorsWriter {
  /// Files above this many tensor bytes are split.
  public static let defaultShardLimit = 5_000_000_000

  /// Writes `model.safetensors` (or another `stem`), or `model-00001-of-0000N.safetensors` ... and `model.safetensors.index.json` when the
  /// tensors exceed `shardLimit` bytes, into `directory`. Each file appears under its name only when it is complete.
  ///
  /// Throws `ModelFileError` for a tensor of the wrong size or holding a NaN or infinity (also one that arises by
  /// rounding to bfloat16), and for a full disk.
  public static func write(
    parameters: [(name: String, shape: [Int])], elementType: CheckpointElementType, directory: String,
    stem: String = "model", shardLimit: Int = defaultShardLimit, tensors: TensorProvider
  ) throws {
    var shards: [[(name: String, shape: [Int])]] = [[]]
    var filled = 0
    var total = 0
    for parameter in parameters {
      let size = parameter.shape.reduce(1, *) * elementType.byteCount
      if !shards[shards.count - 1].isEmpty, filled + size > shardLimit {
        shards.append([])
        filled = 0
      }
      shards[shards.count - 1].append(parameter)
      filled += size
      total += size
    }
    var map = JSONObject()
    for (index, shard) in shards.enumerated() {
      let name =
        shards.count == 1
        ? "\(stem).safetensors" : "\(stem)-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
      try writeShard(shard, elementType, path: joined(directory, name), tensors)
      for parameter in shard { map[parameter.name] = .string(name) }
    }
    if shards.count > 1 {
      let index = JSONValue.members(["metadata": .members(["total_size": .integer(total)]), "weight_map": .object(map)])
      let path = joined(directory, "\(stem).safetensors.index.json")
      try writeFile(path + ".partial", Data(index.encoded().utf8))
      guard rename(path + ".partial", path) == 0 else { throw systemFailure(path, "cannot be renamed into place") }
    }
    try synchronizeDirectory(directory)
  }

  private static func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }

  private static func writeShard(
    _ parameters: [(name: String, shape: [Int])], _ elementType: CheckpointElementType, path: String,
    _ tensors: TensorProvider
  ) throws {
    var header = JSONObject()
    header["__metadata__"] = .members(["format": "pt"])
    var offset = 0
    for (name, shape) in parameters {
      let end = offset + shape.reduce(1, *) * elementType.byteCount
      header[name] = .members([
        "dtype": .string(elementType.rawValue), "shape": .array(shape.map { .integer($0) }),
        "data_offsets": .array([.integer(offset), .integer(end)]),
      ])
      offset = end
    }
    var text = Array(JSONValue.object(header).encoded(indent: nil).utf8)
    // The tensors start at a multiple of 8, as the format asks of writers.
    text += Array(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
    let partial = path + ".partial"
    do {
      var file = try OutputFile(path: partial)
      try withUnsafeBytes(of: UInt64(text.count).littleEndian) { try file.write($0) }
      try text.withUnsafeBytes { try file.write($0) }
      for (name, shape) in parameters { try writeTensor(name, shape, elementType, to: &file, tensors) }
      try file.finish()
    } catch {
      unlink(partial)
      throw error
    }
    guard rename(partial, path) == 0 else { throw systemFailure(path, "cannot be renamed into place") }
  }

  private static func writeTensor(
    _ name: String, _ shape: [Int], _ elementType: CheckpointElementType, to file: inout OutputFile,
    _ tensors: TensorProvider
  ) throws {
    let expected = shape.reduce(1, *)
    let path = file.path
    let start = file.byteCount
    try tensors(name) { values in
      guard values.count == expected else {
        throw ModelFileError(
          path: path, reason: "tensor \(name): shape \(shape) needs \(expected) values, \(values.count) were given")
      }
      switch values {
      case .float32(let values):
        try convert(values, name: name, to: elementType, &file) { (value: Float) in value }
      case .bfloat16(let values):
        try convert(values, name: name, to: elementType, &file) { (value: BFloat16) in Float(value) }
      }
    }
    guard file.byteCount - start == expected * elementType.byteCount else {
      throw ModelFileError(path: path, reason: "tensor \(name): the provider must give its values exactly once")
    }
  }

  @inline(__always)
  private static func convert<Element>(
    _ values: UnsafeBufferPointer<Element>, name: String, to elementType: CheckpointElementType,
    _ file: inout OutputFile, _ float: (Element) -> Float
  ) throws {
    let chunk = 1 << 16
    let path = file.path
    func check(_ value: Float, _ index: Int) throws {
      guard value.isFinite else {
        throw ModelFileError(
          path: path, reason: "tensor \(name): the value at index \(index) is \(value); a diverged model is not written"
        )
      }
    }
    var start = 0
    while start < values.count {
      let end = min(start + chunk, values.count)
      switch elementType {
      case .float32:
        var block = [Float](repeating: 0, count: end - start)
        for index in start..<end {
          let value = float(values[index])
          try check(value, index)
          block[index - start] = value
        }
        try block.withUnsafeBytes { try file.write($0) }
      case .bfloat16:
        var block = [BFloat16](repeating: BFloat16(bitPattern: 0), count: end - start)
        for index in start..<end {
          let value = BFloat16(float(values[index]))
          try check(Float(value), index)
          block[index - start] = value
        }
        try block.withUnsafeBytes { try file.write($0) }
      }
      start = end
    }
  }
}
