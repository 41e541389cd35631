import JSON

/// Numbers by prompt, as JSON that reads back exactly: the same bytes for the same state.
func encodedNumbers(_ state: [String: [Double]]) throws -> [UInt8] {
  var object = JSONObject()
  for (key, numbers) in state.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
    guard numbers.allSatisfy(\.isFinite) else { throw CreditError("the state of prompt \(key) is not finite") }
    object[key] = .array(numbers.map { .decimal($0) })
  }
  return Array(JSONValue.object(object).encoded(indent: nil).utf8)
}

/// - Throws: `CreditError` when the bytes are no state with that many numbers a prompt.
func decodedNumbers(_ bytes: [UInt8], count: Int, of estimator: String) throws -> [String: [Double]] {
  guard let object = try? JSONValue(parsing: bytes).objectValue else {
    throw CreditError(
      "the checkpoint's state is not one of advantage \(estimator): train on with the estimator that made it")
  }
  var state: [String: [Double]] = [:]
  for (key, value) in object.members {
    let numbers = (value.arrayValue ?? []).compactMap(\.doubleValue)
    guard numbers.count == count, value.arrayValue?.count == count else {
      throw CreditError("the checkpoint's state of advantage \(estimator) has \(value.kind) for prompt \(key)")
    }
    state[key] = numbers
  }
  return state
}
