extension JSONObject: Codable {
  /// Reads what `encode` wrote: the object's text.
  public init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let object = (try? JSONValue(parsing: Array(text.utf8)))?.objectValue else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "expected the text of a JSON object"))
    }
    self = object
  }

  /// Writes the object as its text: order of members and spelling of numbers survive every coder.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(JSONValue.object(self).encoded(indent: nil))
  }
}
