import Foundation
import JSON
import Kernels

/// An opened model: its configuration, its weights by Hugging Face name, and where its tokenizer is.
///
/// Files stay mapped while the value or a copy of it lives. Reading is safe from several threads.
public struct ModelSource: Sendable {
  public enum Format: String, Sendable { case huggingFace, gguf }

  /// The directory or the GGUF file.
  public let path: String
  public let format: Format
  public let configuration: ModelConfiguration
  public let tokenizer: TokenizerSource
  /// Tensors in the files that the configuration has no place for, sorted; worth a warning. Recomputable buffers
  /// (`rotary_emb.inv_freq`, `attn.masked_bias`) and the copy of a tied head are not listed.
  public let unusedTensors: [String]

  private let tensors: [String: StoredTensor]
  private let shapes: [String: [Int]]

  /// Opens a Hugging Face directory (`config.json` and `model.safetensors`, whole or sharded), one GGUF file, or a
  /// directory that holds nothing but one GGUF file. Checks that every tensor is present with the right shape.
  ///
  /// Throws `ModelFileError`; for something that looks like a Hub id it names the command that downloads it.
  public static func open(path: String) throws -> ModelSource {
    guard fileExists(path) else { throw notFound(path) }
    guard isDirectory(path) else {
      if path.hasSuffix(".safetensors") {
        throw ModelFileError(
          path: path, reason: "is one weight file; give the directory that also holds its config.json")
      }
      return try openGGUF(path)
    }
    if fileExists(joined(path, "config.json")) { return try openDirectory(path) }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    let candidates = names.filter { $0.hasSuffix(".gguf") }.sorted()
    if candidates.count == 1 { return try openGGUF(joined(path, candidates[0])) }
    let found =
      candidates.isEmpty ? "no GGUF file" : "several GGUF files (\(candidates.joined(separator: ", "))): name one"
    throw ModelFileError(path: path, reason: "is not a model directory: it holds no config.json, and \(found)")
  }

  private static func notFound(_ path: String) -> ModelFileError {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let looksLikeID =
      parts.count == 2
      && parts.allSatisfy { part in
        part.first.map { $0.isASCII && ($0.isLetter || $0.isNumber) } == true
          && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
      } && !path.hasSuffix(".gguf")
    guard looksLikeID else {
      return ModelFileError(path: path, reason: "does not exist; give a Hugging Face directory or a GGUF file")
    }
    return ModelFileError(
      path: path,
      reason: "does not exist on this machine; it looks like a Hugging Face Hub id. Download it first:\n"
        + "  hf download \(path) --local-dir models/\(parts[1])\nand give models/\(parts[1]) as the model")
  }

  private static func openDirectory(_ path: String) throws -> ModelSource {
    let configurationPath = joined(path, "config.json")
    let generationPath = joined(path, "generation_config.json")
    let configuration = try ModelConfiguration(
      huggingFace: JSONValue(contentsOfFile: configurationPath), path: configurationPath,
      generation: fileExists(generationPath) ? JSONValue(contentsOfFile: generationPath) : nil)
    return try ModelSource(
      path: path, format: .huggingFace, configuration: configuration, tokenizer: TokenizerSource(directory: path),
      tensors: readSafetensors(directory: path), unsupported: { _ in nil })
  }

  private static func openGGUF(_ path: String) throws -> ModelSource {
    let file = try GGUFFile(path: path)
    let configuration = try ModelConfiguration(gguf: file)
    return try ModelSource(
      path: path, format: .gguf, configuration: configuration, tokenizer: .gguf(file.metadata),
      tensors: file.huggingFaceTensors(configuration), unsupported: { file.unsupportedType(huggingFaceName: $0) })
  }

  private init(
    path: String, format: Format, configuration: ModelConfiguration, tokenizer: TokenizerSource,
    tensors: [String: StoredTensor], unsupported: (String) -> ModelFileError?
  ) throws {
    var wanted: [String: [Int]] = [:]
    var missing: [String] = []
    for (name, shape) in configuration.parameterShapes() {
      wanted[name] = shape
      guard let tensor = tensors[name] else {
        if let error = unsupported(name) { throw error }
        missing.append(name)
        continue
      }
      guard tensor.shape == shape else {
        throw tensor.failure("has shape \(tensor.shape); the configuration asks for \(shape)")
      }
    }
    guard missing.isEmpty else {
      let shown = missing.prefix(5).joined(separator: ", ") + (missing.count > 5 ? ", ..." : "")
      throw ModelFileError(
        path: path,
        reason: "lacks \(missing.count) of \(wanted.count) tensors of a \(configuration.architecture) model: \(shown)")
    }
    self.path = path
    self.format = format
    self.configuration = configuration
    self.tokenizer = tokenizer
    self.shapes = wanted
    self.tensors = tensors.filter { wanted[$0.key] != nil }
    unusedTensors = tensors.keys.filter { name in
      wanted[name] == nil && !name.hasSuffix("rotary_emb.inv_freq") && !name.hasSuffix(".masked_bias")
        && !(name == "lm_head.weight" && configuration.tiedEmbeddings)
    }.sorted()
  }

  /// Whether `name` is a parameter of this model (a tied `lm_head.weight` is not).
  public func hasTensor(_ name: String) -> Bool { tensors[name] != nil }

  /// Shape of a parameter, row-major, out x in.
  public func shape(of name: String) -> [Int]? { shapes[name] }

  /// Reads one parameter as fp32, dequantised, rows in Hugging Face order, into `output` of exactly its element count.
  /// Throws `ModelFileError` for an unknown name, a wrong size, a NaN or an infinity.
  public func readTensor(name: String, into output: UnsafeMutableBufferPointer<Float>) throws {
    try tensor(name, count: output.count).read(into: output)
  }

  /// As `readTensor`, rounded to bfloat16 (nearest, ties to even).
  public func readTensorBFloat16(name: String, into output: UnsafeMutableBufferPointer<BFloat16>) throws {
    try tensor(name, count: output.count).read(into: output)
  }

  private func tensor(_ name: String, count: Int) throws -> StoredTensor {
    guard let tensor = tensors[name] else { throw ModelFileError(path: path, reason: "has no tensor \(name)") }
    guard tensor.elementCount == count else {
      throw tensor.failure("has shape \(tensor.shape), the buffer given holds \(count) elements")
    }
    return tensor
  }
}
