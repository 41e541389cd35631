import ArgumentParser
import Foundation
import JSON

/// Options that take one value and are given twice: the parser would keep the last in silence.
enum RepeatedOptions {
  /// - Parameters:
  ///   - arguments: the words after the program's name.
  ///   - description: the commands and their options as `--experimental-dump-help` writes them; asked only when a word comes
  ///     twice.
  /// - Throws: `ValidationError` naming the option and both values.
  static func check(_ arguments: [String], description: () -> String) throws {
    var places: [String: [Int]] = [:]
    for (index, word) in arguments.enumerated() {
      // What follows is taken as it is.
      if word == "--" { break }
      guard word.hasPrefix("--") else { continue }
      places[String(word.prefix { $0 != "=" }), default: []].append(index)
    }
    let repeated = places.filter { $0.value.count > 1 }.sorted { $0.value[0] < $1.value[0] }
    guard !repeated.isEmpty, let value = try? JSONValue(parsing: Array(description().utf8)),
      let single = singleValued(arguments, value["command"])
    else { return }
    for (name, indices) in repeated where single.contains(name) {
      let values = indices.map { index in
        let word = arguments[index]
        if let separator = word.firstIndex(of: "=") { return String(word[word.index(after: separator)...]) }
        return index + 1 < arguments.count ? arguments[index + 1] : ""
      }
      throw ValidationError("\(name): is given \(indices.count) times (\(values.joined(separator: ", "))); keep one")
    }
  }

  /// The names of the options of the command that `arguments` call, as "--model", which take one value.
  private static func singleValued(_ arguments: [String], _ root: JSONValue?) -> Set<String>? {
    guard var command = root else { return nil }
    for word in arguments {
      let next = command["subcommands"]?.arrayValue?.first { $0["commandName"]?.stringValue == word }
      guard let next else { break }
      command = next
    }
    var names: Set<String> = []
    for option in command["arguments"]?.arrayValue ?? []
    where option["kind"]?.stringValue == "option" && option["isRepeating"]?.boolValue == false {
      for name in option["names"]?.arrayValue ?? [] {
        if let text = name["name"]?.stringValue { names.insert("--\(text)") }
      }
    }
    return names
  }
}
