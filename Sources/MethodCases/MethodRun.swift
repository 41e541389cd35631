import JSON

/// A file of recorded cases, computed by this build.
public struct MethodRun: Sendable {
  /// The file's cases with `computed` beside `expected`.
  public let cases: JSONValue
  public let count: Int
  /// Cases all of whose numbers agree, or of which nothing was expected.
  public private(set) var agreeing = 0
  /// Names of cases that this build cannot compute, with the reason.
  public private(set) var unsupported: [String] = []
  /// The largest difference as a share of what is allowed, and where.
  public private(set) var worst = 0.0
  public private(set) var worstPlace = ""

  public var agrees: Bool { agreeing == count }

  /// - Parameter document: as the files of test vectors are: `options` of all cases, and `cases`, each with inputs,
  ///   perhaps `options` of its own, and perhaps `expected`.
  /// - Throws: `MethodError` when it has no cases.
  public init(_ entry: MethodEntry, document: JSONValue) throws {
    guard let list = document["cases"]?.arrayValue, !list.isEmpty else {
      throw MethodError("the file has no cases: it must be an object with a list under the key 'cases'")
    }
    let defaults = document["options"]?.objectValue ?? JSONObject()
    var written: [JSONValue] = []
    count = list.count
    for (index, value) in list.enumerated() {
      guard var object = value.objectValue else {
        throw MethodError("case \(index) is \(value.kind), not an object")
      }
      let name = object["name"]?.stringValue ?? String(index)
      let expected = object["expected"]?.objectValue
      do {
        let all = try entry.compute(MethodCase(value, defaults: defaults))
        var computed = JSONObject()
        var (share, place) = (0.0, "")
        for key in expected?.members.map(\.key) ?? all.keys.sorted() {
          guard let own = all[key] else { throw UnsupportedCase("\(key) is not computed") }
          computed[key] = own
          guard let expected = expected?[key] else { continue }
          let comparison = CaseComparison(key: key, computed: own, expected: expected)
          if comparison.worst > share || place.isEmpty {
            (share, place) = (comparison.worst, "case \(name), \(comparison.place): \(comparison.detail)")
          }
        }
        object["computed"] = .object(computed)
        if share <= 1 { agreeing += 1 }
        if share > worst || worstPlace.isEmpty { (worst, worstPlace) = (share, place) }
      } catch {
        object["computed"] = .null
        object["unsupported"] = .string("\(error)")
        unsupported.append("\(name): \(error)")
      }
      written.append(.object(object))
    }
    cases = .array(written)
  }

  /// What a person reads of it.
  public var report: String {
    var lines = ["\(agreeing) of \(count) cases agree"]
    if !worstPlace.isEmpty {
      lines.append(
        "largest difference: \(worst == .infinity ? "of another kind" : "\(worst) of what is allowed"), \(worstPlace)")
    }
    lines += unsupported.map { "unsupported: case \($0)" }
    return lines.joined(separator: "\n")
  }
}
