import JSON

// What is said to those outside who judge, and what they may say (docs/rewards.md).
extension RewardQuery {
  /// The completion as a command or an endpoint reads it, but for the `id` of the exchange.
  var outline: JSONObject {
    let thinking =
      completion.fullText.hasSuffix(completion.text)
      ? String(completion.fullText.dropLast(completion.text.count)) : completion.fullText
    var object = JSONObject()
    object["prompt_id"] = .string(promptID)
    object["prompt"] = .string(question)
    object["reference"] = .string(answer)
    object["fields"] = .object(fields ?? JSONObject())
    object["thinking"] = .string(thinking)
    object["thinking_length"] = .integer(completion.thinkingLength)
    object["answer"] = .string(completion.text)
    object["length"] = .integer(completion.length)
    object["finish_reason"] = .string("\(completion.finishReason)")
    object["group"] = .integer(group)
    object["sample"] = .integer(sampleIndex)
    return object
  }
}

extension RewardVerdict {
  /// `{"reward": 0.5}`, or `{"error": "why"}` for a completion that cannot be judged. Anything else is no verdict and says so.
  /// - Parameter judge: who replied, for messages: "the command".
  init(reply: JSONObject, from judge: String) {
    if let error = reply["error"]?.stringValue {
      self = .notJudged(reason: "\(judge) says: \(error.prefix(300))")
    } else if let reward = reply["reward"]?.doubleValue, Float(reward).isFinite {
      self = .value(Float(reward))
    } else {
      let text = JSONValue.object(reply).encoded(indent: nil)
      self = .notJudged(
        reason: "\(judge)'s reply has neither a finite \"reward\" nor an \"error\": \(text.prefix(80))")
    }
  }
}
