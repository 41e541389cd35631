import SoftThinking

/// Scores a completion against the reference answer. A pure function: no clock, no network, finite for any text.
public protocol RewardFunction: Sendable {
  func reward(completion: Completion, answer: String) -> Float

  /// Why nothing can be compared with a reference answer; `nil` when it can be. Such a sample is not judged: its reward is
  /// no statement about the completion.
  func referenceFault(_ answer: String) -> String?
}

extension RewardFunction {
  public func referenceFault(_ answer: String) -> String? { nil }
}

/// 1 when the final answer is mathematically the reference answer, else 0 (config name `math`).
public struct MathReward: RewardFunction {
  public var verifier: MathVerifier

  public init(verifier: MathVerifier = MathVerifier()) { self.verifier = verifier }

  public func reward(completion: Completion, answer: String) -> Float {
    verifier.isCorrect(completion.text, answer: answer) ? 1 : 0
  }

  public func referenceFault(_ answer: String) -> String? { MathVerifier.fault(inReference: answer) }
}

/// 1 when the text after the thinking is the reference answer, letter for letter but for surrounding white space, and the
/// completion ended by itself (config name `exact`).
public struct ExactReward: RewardFunction {
  public init() {}

  public func reward(completion: Completion, answer: String) -> Float {
    completion.finishReason == .stop && Self.trimmed(completion.text) == Self.trimmed(answer) ? 1 : 0
  }

  private static func trimmed(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
    else {
      return []
    }
    return Array(bytes[first...last])
  }
}

/// 1 when the thinking ended, an answer followed it and the completion ended by itself, else 0 (config name `format`).
public struct FormatReward: RewardFunction {
  public init() {}

  public func reward(completion: Completion, answer: String) -> Float {
    completion.finishReason == .stop && completion.text.utf8.contains { !isSpace($0) } ? 1 : 0
  }
}

/// DAPO's soft overlong punishment (arXiv 2503.14476, equation 13; config name `length_penalty`): 0 up to
/// `maximumLength - bufferLength` steps, from there linearly down to -1 at `maximumLength`, -1 beyond.
public struct LengthPenalty: RewardFunction {
  public var maximumLength: Int
  public var bufferLength: Int

  /// - Throws: `TaskError` unless 0 < bufferLength <= maximumLength.
  public init(maximumLength: Int, bufferLength: Int) throws {
    guard bufferLength > 0, bufferLength <= maximumLength else {
      throw TaskError(
        "length_penalty: the buffer must be in 1...\(maximumLength) (the maximum length), got \(bufferLength)")
    }
    self.maximumLength = maximumLength
    self.bufferLength = bufferLength
  }

  public func reward(completion: Completion, answer: String) -> Float {
    let expected = maximumLength - bufferLength
    if completion.length <= expected { return 0 }
    if completion.length > maximumLength { return -1 }
    return Float(expected - completion.length) / Float(bufferLength)
  }
}

/// A weighted sum of rewards, each of which stays visible by name.
public struct WeightedRewards: RewardFunction {
  public struct Part: Sendable {
    public var name: String
    public var weight: Float
    public var function: any RewardFunction

    public init(name: String, weight: Float = 1, function: any RewardFunction) {
      self.name = name
      self.weight = weight
      self.function = function
    }
  }

  public let parts: [Part]

  /// - Throws: `TaskError` when there are no parts, a name occurs twice, or a weight is not finite.
  public init(_ parts: [Part]) throws {
    guard !parts.isEmpty else { throw TaskError("rewards: name at least one reward function") }
    var names: Set<String> = []
    for part in parts {
      guard part.weight.isFinite else {
        throw TaskError("rewards.\(part.name): the weight must be finite, got \(part.weight)")
      }
      guard names.insert(part.name).inserted else { throw TaskError("rewards.\(part.name): named twice") }
    }
    self.parts = parts
  }

  public func reward(completion: Completion, answer: String) -> Float {
    breakdown(completion: completion, answer: answer).total
  }

  /// The first fault that a part finds.
  public func referenceFault(_ answer: String) -> String? {
    for part in parts {
      if let fault = part.function.referenceFault(answer) { return fault }
    }
    return nil
  }

  /// The weighted sum and each function's own, unweighted value, in the order of `parts`.
  public func breakdown(completion: Completion, answer: String) -> (total: Float, values: [Float]) {
    var total: Float = 0
    let values = parts.map { part in
      let value = part.function.reward(completion: completion, answer: answer)
      total += part.weight * value
      return value
    }
    return (total, values)
  }
}
