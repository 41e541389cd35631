import Yams

extension RunConfiguration {
  /// Applies one `key.path=value`; the value is YAML (`8`, `true`, `[1, 8]`, `"text"`, `null`). No cross-field check.
  /// - Returns: what is wrong with it; the configuration is then unchanged.
  mutating func apply(override: String) -> [ConfigurationError.Problem] {
    var context = DecodingContext(source: "--set \(override)", hasLines: false)
    guard let separator = override.firstIndex(of: "="), separator != override.startIndex else {
      context.report("expected key.path=value, as in --set rollout.group_size=8", at: nil)
      return context.problems
    }
    let keys = override[..<separator].split(separator: ".", omittingEmptySubsequences: false).map {
      String($0).trimmingSpaces()
    }
    guard !keys.contains("") else {
      context.report("the key path has an empty part; write it as in --set rollout.group_size=8", at: nil)
      return context.problems
    }
    do throws(ConfigurationError) {
      // An empty value is null, as after "key:" in a file.
      var node = try composeYAML(String(override[override.index(after: separator)...]), context: context) ?? Node("")
      for key in keys.reversed() { node = Node([(Node(key, .implicit, .doubleQuoted), node)]) }
      var changed = self
      decodeSection(node, path: "", into: &changed, context: &context)
      if context.problems.isEmpty { self = changed }
      return context.problems
    } catch {
      return error.problems
    }
  }
}

extension String {
  fileprivate func trimmingSpaces() -> String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
