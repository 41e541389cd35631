import Foundation
import Testing

@testable import ModelFiles

/// Damaged and hostile files: whatever the bytes, a `ModelFileError` or a model, never a trap.
struct DamagedFileTests {
  /// Opens a model and reads every tensor. True when all of it succeeded; rethrows nothing but unexpected errors.
  func survives(_ path: String) throws -> Bool {
    do {
      let source = try ModelSource.open(path: path)
      for (name, _) in source.configuration.parameterShapes() {
        _ = try values(source, name)
        _ = try bfloat16Values(source, name)
      }
      return true
    } catch let error as ModelFileError {
      #expect(error.description.hasPrefix(error.path))
      return false
    }
  }

  /// Bytes before the first tensor's.
  func headerLength(_ file: String, gguf: Bool) throws -> Int {
    let tensors = gguf ? try GGUFFile(path: file).tensors : try SafetensorsFile(path: file).tensors
    return try #require(tensors.values.map(\.offset).min())
  }

  /// A copy of the fixture in a temporary directory; the path to open and the path of the file to damage.
  func copy(gguf: Bool) throws -> (directory: TemporaryDirectory, open: String, file: String, content: [UInt8]) {
    let directory = try TemporaryDirectory()
    if gguf {
      let content = try bytes(fixture("models/qwen2.gguf"))
      let path = try directory.write("m.gguf", content)
      return (directory, path, path, content)
    }
    _ = try directory.write("config.json", bytes(fixture("models/qwen2/config.json")))
    let content = try bytes(fixture("models/qwen2/model.safetensors"))
    return (directory, directory.path, try directory.write("model.safetensors", content), content)
  }

  @Test(arguments: [true, false])
  func truncated(gguf: Bool) throws {
    let (directory, open, file, content) = try copy(gguf: gguf)
    #expect(try survives(open))
    let header = try headerLength(file, gguf: gguf)
    for length in stride(from: 0, to: content.count, by: 1) where length < 64 || length % 41 == 0 || length == header {
      try Data(content[..<length]).write(to: URL(fileURLWithPath: file))
      #expect(try !survives(open), "\(length) bytes")
    }
    withExtendedLifetime(directory) {}
  }

  @Test(arguments: [true, false])
  func flippedHeaderBytes(gguf: Bool) throws {
    let (directory, open, file, content) = try copy(gguf: gguf)
    let header = try headerLength(file, gguf: gguf)
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
    var refused = 0
    for offset in 0..<header {
      for replacement in [content[offset] ^ 0x01, content[offset] ^ 0x80, 0xFF] where offset < 400 || offset % 3 == 0 {
        try handle.seek(toOffset: UInt64(offset))
        try handle.write(contentsOf: [replacement])
        if try !survives(open) { refused += 1 }
        try handle.seek(toOffset: UInt64(offset))
        try handle.write(contentsOf: [content[offset]])
      }
    }
    #expect(refused > 300)
    #expect(try survives(open))
    withExtendedLifetime(directory) {}
  }

  /// A safetensors file with this header text and this many zero bytes of data.
  func safetensors(_ header: String, dataBytes: Int, claimed: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    let length = claimed ?? UInt64(text.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) } + text
      + Array(repeating: 0, count: dataBytes)
  }

  @Test func hostileSafetensors() throws {
    let directory = try TemporaryDirectory()
    func error(_ header: String, _ dataBytes: Int = 16, claimed: UInt64? = nil) throws -> String {
      let path = try directory.write("x.safetensors", safetensors(header, dataBytes: dataBytes, claimed: claimed))
      return message { _ = try SafetensorsFile(path: path) }
    }
    func entry(_ type: String, _ shape: String, _ offsets: String) -> String {
      #"{"dtype":"\#(type)","shape":[\#(shape)],"data_offsets":[\#(offsets)]}"#
    }
    let good = #"{"a":\#(entry("F32", "2,2", "0,16"))}"#
    let path = try directory.write("good.safetensors", safetensors(good, dataBytes: 16))
    #expect(try SafetensorsFile(path: path).tensors["a"]?.shape == [2, 2])
    #expect(try error("{}", claimed: .max).contains("claims"))
    #expect(try error("{}", claimed: 90_000_000).contains("cut short"))
    #expect(try error("[]").contains("object"))
    #expect(try error(good, 15).contains("tensor a: needs 16 bytes, the file holds 15"))
    #expect(try error(#"{"a":\#(entry("F8_E4M3", "16", "0,16"))}"#).contains("supported: F32, F16, BF16, F64"))
    #expect(try error(#"{"a":\#(entry("F32", "2,3", "0,16"))}"#).contains("needs 24 bytes"))
    #expect(try error(#"{"a":\#(entry("F32", "-2,-2", "0,16"))}"#).contains("negative"))
    #expect(try error(#"{"a":\#(entry("F32", "9223372036854775807,2", "0,16"))}"#).contains("too large"))
    #expect(try error(#"{"a":\#(entry("F32", "4611686018427387904", "0,16"))}"#).contains("too large"))
    #expect(try error(#"{"a":\#(entry("F32", "4", "9223372036854775807,16"))}"#).contains("data_offsets"))
    #expect(try error(#"{"a":\#(entry("F32", "4", "-16,0"))}"#).contains("data_offsets"))
    #expect(try error(#"{"a":{"dtype":"F32"}}"#).contains("lacks"))
    #expect(
      try error(#"{"a":\#(entry("F32", "2", "0,8")),"b":\#(entry("F32", "2", "4,12"))}"#).contains("overlap"))
  }

  /// Little-endian GGUF pieces.
  struct Writer {
    var bytes: [UInt8] = Array("GGUF".utf8)
    mutating func put<T: FixedWidthInteger>(_ value: T) {
      withUnsafeBytes(of: value.littleEndian) { bytes += Array($0) }
    }
    mutating func put(_ text: String) {
      put(UInt64(text.utf8.count))
      bytes += Array(text.utf8)
    }
  }

  @Test func hostileGGUF() throws {
    let directory = try TemporaryDirectory()
    func error(version: UInt32 = 3, tensors: UInt64 = 0, values: UInt64 = 0, _ body: (inout Writer) -> Void = { _ in })
      throws
      -> String
    {
      var writer = Writer()
      writer.put(version)
      writer.put(tensors)
      writer.put(values)
      body(&writer)
      let path = try directory.write("x.gguf", writer.bytes)
      return message { _ = try ModelSource.open(path: path) }
    }
    func list(_ type: UInt32, _ count: UInt64) -> (inout Writer) -> Void {
      {
        $0.put("k")
        $0.put(UInt32(9))
        $0.put(type)
        $0.put(count)
      }
    }
    #expect(try error(version: 1).contains("version 2 and 3"))
    #expect(try error(version: 3 << 24).contains("big-endian"))
    #expect(try error(tensors: .max).contains("damaged"))
    #expect(try error(values: 1 << 40).contains("damaged"))
    #expect(try error(values: 1) { $0.put(UInt64.max) }.contains("claims a string"))
    #expect(try error(values: 1, list(8, .max)).contains("claims"))
    #expect(try error(values: 1, list(4, 1 << 23)).contains("do not fit"))
    #expect(try error(values: 1, list(99, 1)).contains("unknown value type"))
    #expect(
      try error(values: 1) {
        $0.put("k")
        $0.put(UInt32(9))
        for _ in 0..<100_000 {
          $0.put(UInt32(9))
          $0.put(UInt64(1))
        }
      }.contains("nested"))
    #expect(
      try error(values: 2) {
        for _ in 0..<2 {
          $0.put("k")
          $0.put(UInt32(0))
          $0.put(UInt8(1))
        }
      }.contains("twice"))
    func tensor(_ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) -> (inout Writer) -> Void {
      {
        $0.put("t")
        $0.put(UInt32(dimensions.count))
        for dimension in dimensions { $0.put(dimension) }
        $0.put(type)
        $0.put(offset)
      }
    }
    #expect(try error(tensors: 1, tensor([.max])).contains("too large"))
    #expect(try error(tensors: 1, tensor([1 << 40, 1 << 40])).contains("too large"))
    #expect(try error(tensors: 1, tensor([1 << 61])).contains("too large"))
    #expect(try error(tensors: 1, tensor(Array(repeating: 1, count: 9))).contains("dimensions"))
    #expect(try error(tensors: 1, tensor([33], type: 2)).contains("blocks"))
    #expect(try error(tensors: 1, tensor([32], offset: 7)).contains("alignment"))
    #expect(try error(tensors: 1, tensor([32], offset: .max - 31)).contains("offset"))
    #expect(try error(tensors: 1, tensor([32], offset: 1 << 40)).contains("the file holds 0"))
    #expect(try error().contains("general.architecture is missing"))
  }

  @Test func notFinite() throws {
    let (directory, open, file, content) = try copy(gguf: false)
    var damaged = content
    let tensor = try #require(SafetensorsFile(path: file).tensors["model.layers.1.mlp.up_proj.weight"])
    let index = 37
    damaged.replaceSubrange((tensor.offset + 2 * index)..<(tensor.offset + 2 * index + 2), with: [0x80, 0x7F])
    _ = try directory.write("model.safetensors", damaged)
    let source = try ModelSource.open(path: open)
    for read in [
      { _ = try values(source, "model.layers.1.mlp.up_proj.weight") },
      { _ = try bfloat16Values(source, "model.layers.1.mlp.up_proj.weight") },
    ] {
      let text = message(read)
      #expect(
        text.contains("model.safetensors: tensor model.layers.1.mlp.up_proj.weight: holds inf at row 1, column 5"))
    }
    _ = try values(source, "model.layers.0.mlp.up_proj.weight")
  }
}
