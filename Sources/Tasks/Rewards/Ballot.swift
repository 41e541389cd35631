/// How the completions of a prompt vote in maj@k: by the answer that a reward reads in them, compared as the reward compares.
public struct Ballot: Sendable {
  /// The answer that a completion votes for; nil: it holds none.
  public var answer: @Sendable (RewardQuery) -> String?
  /// Whether two answers are one vote.
  public var areEqual: @Sendable (String, String) -> Bool

  public init(
    answer: @escaping @Sendable (RewardQuery) -> String?, areEqual: @escaping @Sendable (String, String) -> Bool
  ) {
    (self.answer, self.areEqual) = (answer, areEqual)
  }
}
