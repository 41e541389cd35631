import Foundation
import Yams

extension RunConfiguration {
  /// Largest configuration file that is read, in bytes.
  static let maximumFileSize = 1 << 20

  /// Reads a file, applies `--set` overrides in their order, and validates the result.
  /// - Parameters:
  ///   - path: a YAML file of at most 1 MiB.
  ///   - overrides: `key.path=value`, the value in YAML.
  /// - Throws: `ConfigurationError` with every problem found and its place.
  public static func load(path: String, overrides: [String] = []) throws(ConfigurationError) -> RunConfiguration {
    try parse(readConfigurationFile(path), source: path, overrides: overrides)
  }

  /// Reads YAML text; `source` names it in errors. Keys that are absent have their default.
  /// - Throws: `ConfigurationError` with every problem found and its place.
  public static func parse(
    _ yaml: String, source: String, overrides: [String] = []
  ) throws(ConfigurationError) -> RunConfiguration {
    var configuration = RunConfiguration()
    var context = DecodingContext(source: source, hasLines: true)
    if let node = try composeYAML(yaml, context: context) {
      decodeSection(node, path: "", into: &configuration, context: &context)
    }
    var problems = context.problems
    for override in overrides { problems += configuration.apply(override: override) }
    guard problems.isEmpty else { throw ConfigurationError(problems) }
    try configuration.validate(source: source)
    return configuration
  }

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

private func readConfigurationFile(_ path: String) throws(ConfigurationError) -> String {
  let data: Data
  do {
    let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    defer { try? handle.close() }
    data = try handle.read(upToCount: RunConfiguration.maximumFileSize + 1) ?? Data()
  } catch {
    throw ConfigurationError(
      "cannot read the configuration: \((error as NSError).localizedFailureReason ?? "\(error)")", at: path)
  }
  guard data.count <= RunConfiguration.maximumFileSize else {
    throw ConfigurationError("larger than 1 MiB: not a run configuration", at: path)
  }
  guard let text = String(validating: data, as: UTF8.self) else {
    throw ConfigurationError("not UTF-8 text", at: path)
  }
  return text
}

extension String {
  fileprivate func trimmingSpaces() -> String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
