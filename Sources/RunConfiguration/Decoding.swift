import Yams

/// Where a document came from and what is wrong with it so far.
struct DecodingContext {
  /// A file's path, or the whole `--set key=value`.
  let source: String
  /// Whether lines and columns mean anything to the user: not in an override.
  let hasLines: Bool
  var problems: [ConfigurationError.Problem] = []

  init(source: String, hasLines: Bool) {
    self.source = source
    self.hasLines = hasLines
  }

  func location(_ mark: Mark?) -> String {
    guard hasLines, let mark else { return source }
    return "\(source):\(mark.line):\(mark.column)"
  }

  mutating func report(_ message: String, at mark: Mark?) {
    problems.append(.init(location: location(mark), message: message))
  }
}

/// Reads a mapping over `section`: keys that are absent keep their value. An unknown key is an error.
func decodeSection<Section: ConfigurationSection>(
  _ node: Node, path: String, into section: inout Section, context: inout DecodingContext
) {
  // An empty section ("learner:" with nothing below it) holds no key and changes nothing.
  if isNull(node) { return }
  guard case .mapping(let mapping) = node else {
    let name = path.isEmpty ? "the configuration" : path
    let example = Section.fields.first?.key ?? "key"
    context.report("\(name): expected a mapping of keys, as in `\(example): …`, got \(describe(node))", at: node.mark)
    return
  }
  let fields = Section.fields
  for (keyNode, value) in mapping {
    guard case .scalar(let scalar) = keyNode else {
      context.report(
        "\(path.isEmpty ? "a key" : "\(path): a key") must be text, got \(describe(keyNode))", at: keyNode.mark)
      continue
    }
    let fullPath = path.isEmpty ? scalar.string : path + "." + scalar.string
    if let field = fields.first(where: { $0.key == scalar.string }) {
      field.decode(value, fullPath, &section, &context)
    } else {
      context.report(unknownKey(fullPath, siblings: fields.map(\.key), path: path), at: keyNode.mark)
    }
  }
}

/// `rollout.groupsize` is near `group_size` beside it; `learner.group_size` lives in another section.
private func unknownKey(_ fullPath: String, siblings: [String], path: String) -> String {
  let key = String(fullPath.dropFirst(path.isEmpty ? 0 : path.count + 1))
  let prefix = path.isEmpty ? "" : path + "."
  let shown = fullPath.count > 120 ? String(fullPath.prefix(120)) + "…" : fullPath
  let everywhere = RunConfiguration.keyPaths
  if everywhere.contains(key), key.contains(".") {
    return "unknown key \(shown); in a file keys are nested: each part of \(key) on a line of its own"
  }
  if let moved = everywhere.first(where: { $0.hasSuffix("." + key) }) {
    return "unknown key \(shown); did you mean \(moved)?"
  }
  if let near = nearest(key, among: siblings) { return "unknown key \(shown); did you mean \(prefix)\(near)?" }
  let leaves = everywhere.map { String($0.split(separator: ".").last ?? "") }
  if let near = nearest(key, among: leaves), let index = leaves.firstIndex(of: near) {
    return "unknown key \(shown); did you mean \(everywhere[index])?"
  }
  return
    "unknown key \(shown); \(path.isEmpty ? "the sections are" : "\(path) has") \(siblings.joined(separator: ", "))"
}

/// Parses one document.
/// - Throws: `ConfigurationError` with the place of a syntax error or of a key given twice.
func composeYAML(_ text: String, context: DecodingContext) throws(ConfigurationError) -> Node? {
  do {
    return try Yams.compose(yaml: text)
  } catch let error as YamlError {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      throw ConfigurationError("not valid YAML: \(problem)", at: context.location(mark))
    case .reader(let problem, _, _, _):
      throw ConfigurationError("not valid YAML: \(problem)", at: context.source)
    case .duplicatedKeysInMapping(let duplicates, let detail):
      throw ConfigurationError(
        "the key \(duplicates.joined(separator: ", ")) is given twice; keep one", at: context.location(detail.mark))
    default:
      throw ConfigurationError("not valid YAML: \(error)", at: context.source)
    }
  } catch {
    throw ConfigurationError("not valid YAML: \(error)", at: context.source)
  }
}
