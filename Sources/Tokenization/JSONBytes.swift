import JSON

/// - Throws: `TokenizationError` naming the file and the place of the first fault.
func parseJSON(_ bytes: [UInt8], fileName: String) throws -> JSONValue {
  do {
    return try JSONValue(parsing: bytes)
  } catch {
    throw TokenizationError(
      "\(fileName): not valid JSON at \(error). The file may be cut short or be a Git LFS pointer; download it again.")
  }
}

extension JSONValue {
  /// The UTF-8 of a string: tokens are compared by their bytes.
  var bytes: [UInt8]? { stringValue.map { Array($0.utf8) } }
}
