import Foundation
import Kernels
import Testing

@testable import ModelFiles

func fixture(_ name: String) -> String {
  Bundle.module.resourceURL!.appendingPathComponent("Fixtures/\(name)").path
}

/// A directory that lasts as long as the value.
final class TemporaryDirectory {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("model-files-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { path + "/" + name }

  func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

func values(_ source: ModelSource, _ name: String) throws -> [Float] {
  let count = try #require(source.shape(of: name)).reduce(1, *)
  var output = [Float](repeating: .nan, count: count)
  try output.withUnsafeMutableBufferPointer { try source.readTensor(name: name, into: $0) }
  return output
}

func bfloat16Values(_ source: ModelSource, _ name: String) throws -> [BFloat16] {
  let count = try #require(source.shape(of: name)).reduce(1, *)
  var output = [BFloat16](repeating: BFloat16(bitPattern: 0x7FC0), count: count)
  try output.withUnsafeMutableBufferPointer { try source.readTensorBFloat16(name: name, into: $0) }
  return output
}

/// The message of the `ModelFileError` that `body` throws; any other outcome fails the test.
func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    Issue.record("nothing was thrown")
  } catch let error as ModelFileError {
    return error.description
  } catch {
    Issue.record("threw \(error)")
  }
  return ""
}
