import SoftThinking

/// What a reward's value says.
public enum RewardRole: Sendable {
  /// 1: the answer is right. An evaluation counts these as pass@k.
  case correctness
  /// How the completion looks, whether or not its answer is right.
  case shaping
}

/// Scores a completion against the reference answer. A pure function: no clock, no network, finite for any text.
public protocol RewardFunction: Sendable {
  var role: RewardRole { get }
  func reward(completion: Completion, answer: String) -> Float
}

/// 1 when the final answer is mathematically the reference answer, else 0 (config name `math`).
public struct MathReward: RewardFunction {
  public var verifier: MathVerifier
  public var role: RewardRole { .correctness }

  public init(verifier: MathVerifier = MathVerifier()) { self.verifier = verifier }

  public func reward(completion: Completion, answer: String) -> Float {
    verifier.isCorrect(completion.text, answer: answer) ? 1 : 0
  }
}

/// 1 when the text after the thinking is the reference answer, letter for letter but for surrounding white space, and the
/// completion ended by itself (config name `exact`).
public struct ExactReward: RewardFunction {
  public init() {}

  public var role: RewardRole { .correctness }

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

  public var role: RewardRole { .shaping }

  public func reward(completion: Completion, answer: String) -> Float {
    completion.finishReason == .stop && completion.text.utf8.contains { !isSpace($0) } ? 1 : 0
  }
}

/// DAPO's soft overlong punishment (arXiv 2503.14476, equation 13; config name `length_penalty`): 0 up to
/// `maximumLength - bufferLength` steps, from there linearly down to -1 at `maximumLength`, -1 beyond.
public struct LengthPenalty: RewardFunction {
  public var maximumLength: Int
  public var bufferLength: Int
  public var role: RewardRole { .shaping }

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
    overlongPenalty(length: completion.length, maximumLength: maximumLength, bufferLength: bufferLength)
  }
}

/// A weighted sum of rewards, each of which stays visible by name.
public struct WeightedRewards: Sendable {
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

  /// What decides whether an answer is right: the last part whose role is correctness, whatever its weight.
  ///
  /// - Returns: nil when every part shapes.
  public var judge: (any RewardFunction)? { parts.last { $0.function.role == .correctness }?.function }

  public func reward(completion: Completion, answer: String) -> Float {
    breakdown(completion: completion, answer: answer).total
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
