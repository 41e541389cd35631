import JSON

extension JSONValue {
  /// Reads and parses the JSON file at `path`.
  /// - Throws: `ModelFileError`.
  public init(contentsOfFile path: String) throws {
    let bytes = try readSmallFile(path)
    self = try bytes.withUnsafeBytes { try JSONValue(parsing: $0, path: path) }
  }

  /// - Parameter path: whose bytes they are, for the error.
  /// - Throws: `ModelFileError`.
  init(parsing bytes: UnsafeRawBufferPointer, path: String) throws {
    do {
      try self.init(parsing: bytes)
    } catch {
      throw ModelFileError(
        path: path,
        reason: "is not valid JSON at \(error); it may be cut short or be a Git LFS pointer: download it again")
    }
  }
}
