/// The rules of a configuration that are broken, as messages: what no single key shows.
struct Rules {
  private(set) var broken: [String] = []

  mutating func require(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { broken.append(message()) }
  }

  mutating func requireDistinct(_ values: [String], _ key: String) {
    require(Set(values).count == values.count, "\(key): has an entry twice, got [\(values.joined(separator: ", "))]")
  }

  /// What the body throws is a broken rule; its message begins with the key to change.
  ///
  /// - Parameter section: put before the message where that begins with a key of the section alone.
  mutating func attempt(section: String? = nil, _ body: (inout Rules) throws -> Void) {
    do { try body(&self) } catch {
      let message = "\(error)"
      let prefix = section.map { $0 + "." } ?? ""
      broken.append(message.hasPrefix(prefix) ? message : prefix + message)
    }
  }
}
