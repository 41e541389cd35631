import Foundation

/// A decoder under test: whatever the bytes, it returns or throws. What it must not do is end the process.
struct FuzzTarget {
  var name: String
  /// Inputs that are right, to begin with.
  var seeds: [[UInt8]]
  var words: [String] = []
  var run: ([UInt8]) throws -> Void

  /// - Throws: when a fixture is missing.
  static func named(_ name: String, root: String) throws -> FuzzTarget? {
    switch name {
    case "wire": try wire()
    case "delta": try delta()
    case "safetensors": try safetensors(root)
    case "gguf": try gguf(root)
    case "tokenizer": try tokenizer(root)
    case "template": try template(root)
    case "configuration": try configuration(root)
    case "trajectory": trajectory()
    case "keys": keys()
    default: nil
    }
  }

  static let names = [
    "wire", "delta", "safetensors", "gguf", "tokenizer", "template", "configuration", "trajectory", "keys",
  ]

  static func file(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

  /// A file in memory that a reader by path can open.
  final class ScratchFile {
    let path: String
    init(_ suffix: String) {
      path = "/dev/shm/softgrpo-fuzz-\(ProcessInfo.processInfo.processIdentifier)\(suffix)"
    }
    deinit { unlink(path) }

    func write(_ bytes: [UInt8]) {
      let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
      _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      close(descriptor)
    }
  }
}
