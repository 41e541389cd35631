import Foundation

/// Writes Hugging Face model directories that `transformers` loads unchanged.
public enum CheckpointWriter {
  /// What goes beside the weights.
  public enum Tokenizer: Sendable {
    /// The files of a Hugging Face directory, copied; or those built from GGUF metadata.
    case source(TokenizerSource)
    /// Literal file contents by plain file name, such as `tokenizer.json`.
    case files([String: Data])
  }

  /// Files copied from a Hugging Face source when they exist.
  static let copiedFiles = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",
    "generation_config.json", "chat_template.jinja", "chat_template.json",
  ]

  /// Writes `config.json`, the weights in canonical order and the tokenizer's files into `directory`.
  ///
  /// All of it is written to `directory.partial`, made durable and renamed: a reader sees the whole checkpoint or none.
  /// `extraFiles` (plain names) are added to the same transaction. Overwriting moves the old directory to
  /// `directory.replaced` for the moment between two renames; the next write puts back what a crash left there.
  ///
  /// Throws `ModelFileError` when `directory` exists, is not empty and `overwrite` is false; when a tensor is of the
  /// wrong size or not finite; and when the disk refuses.
  public static func write(
    configuration: ModelConfiguration, elementType: CheckpointElementType, tokenizer: Tokenizer,
    extraFiles: [String: Data] = [:], to directory: String, overwrite: Bool = false,
    shardLimit: Int = SafetensorsWriter.defaultShardLimit, tensors: TensorProvider
  ) throws {
    let directory = directory.count > 1 && directory.hasSuffix("/") ? String(directory.dropLast()) : directory
    try configuration.validate(path: joined(directory, "config.json"))
    var files = try tokenizerFiles(tokenizer)
    files.merge(extraFiles) { _, extra in extra }
    let reserved = ["config.json", "model.safetensors", "model.safetensors.index.json"]
    for name in files.keys {
      guard !name.isEmpty, name != ".", name != "..", !name.contains("/"), !name.contains("\0"),
        !reserved.contains(name)
      else {
        throw ModelFileError(path: directory, reason: "'\(name)' cannot be the name of a file added to a checkpoint")
      }
    }
    files["config.json"] = Data(configuration.huggingFaceJSON(elementType: elementType).encoded().utf8)

    try writeDirectory(directory, files: files, overwrite: overwrite) { partial in
      try SafetensorsWriter.write(
        parameters: configuration.parameterShapes(), elementType: elementType, directory: partial,
        shardLimit: shardLimit, tensors: tensors)
    }
  }

  /// Writes `files` and whatever `body` adds to `directory.partial`, makes it durable and renames it.
  static func writeDirectory(
    _ directory: String, files: [String: Data], overwrite: Bool, _ body: (_ partial: String) throws -> Void
  ) throws {
    let partial = directory + ".partial"
    try checkTarget(directory, overwrite: overwrite)
    try removeAll(partial)
    do {
      try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: true)
    } catch {
      throw ModelFileError(path: partial, reason: "cannot be created: \(error.localizedDescription)")
    }
    do {
      for (name, data) in files.sorted(by: { $0.key < $1.key }) { try writeFile(joined(partial, name), data) }
      try body(partial)
      try putInPlace(partial, directory)
    } catch {
      try? removeAll(partial)
      throw error
    }
  }

  private static func checkTarget(_ directory: String, overwrite: Bool) throws {
    if !fileExists(directory), fileExists(directory + ".replaced") { _ = rename(directory + ".replaced", directory) }
    guard fileExists(directory) else { return }
    guard isDirectory(directory) else { throw ModelFileError(path: directory, reason: "exists and is not a directory") }
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    guard entries.isEmpty || overwrite else {
      throw ModelFileError(
        path: directory, reason: "exists and is not empty; choose another directory or ask to overwrite it")
    }
  }

  private static func putInPlace(_ partial: String, _ directory: String) throws {
    let replaced = directory + ".replaced"
    try removeAll(replaced)
    let exists = fileExists(directory)
    if exists, rename(directory, replaced) != 0 { throw systemFailure(directory, "cannot be moved aside") }
    guard rename(partial, directory) == 0 else {
      let failure = systemFailure(directory, "cannot be renamed into place")
      if exists { _ = rename(replaced, directory) }
      throw failure
    }
    let slash = directory.lastIndex(of: "/")
    let parent = slash.map { $0 == directory.startIndex ? "/" : String(directory[..<$0]) } ?? "."
    try synchronizeDirectory(parent)
    try removeAll(replaced)
  }

  private static func removeAll(_ path: String) throws {
    guard fileExists(path) else { return }
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      throw ModelFileError(path: path, reason: "cannot be removed: \(error.localizedDescription)")
    }
  }

  /// The files of a tokenizer by name.
  static func tokenizerFiles(_ tokenizer: Tokenizer) throws -> [String: Data] {
    switch tokenizer {
    case .files(let files): return files
    case .source(.gguf(let metadata)): return try ggufTokenizerFiles(metadata)
    case .source(.huggingFace(let path, _, _, _, _)):
      let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
      var files: [String: Data] = [:]
      for name in copiedFiles where fileExists(joined(directory, name)) {
        files[name] = Data(try readSmallFile(joined(directory, name)))
      }
      return files
    }
  }
}
