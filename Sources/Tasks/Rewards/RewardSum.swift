import JSON
import Parameters

/// What the rewards of a run say of one completion.
public struct JudgedCompletion: Sendable, Equatable {
  /// The weighted sum; nil: one of its parts was not judged.
  public var total: Float?
  /// Each part's own, unweighted value, in the order of `RewardSum.names`; nil: not judged.
  public var values: [Float?]
  /// Whether the answer is correct; nil: not judged, or no reward with a weight says so.
  public var isCorrect: Bool?
  /// Why it was not judged.
  public var reason: String?
}

/// A weighted sum of rewards, each of which stays visible by name.
public struct RewardSum: Sendable {
  private struct Term: Sendable {
    var name: String
    var weight: Float
    var function: any RewardFunction
  }

  private let terms: [Term]
  /// Who says whether an answer is correct.
  private let judges: [(name: String, function: any RewardFunction)]

  /// - Parameters:
  ///   - weights: by name of a registered reward; 0 leaves it out.
  ///   - parameters: of all rewards, by key; absent ones have their defaults.
  ///   - judge: the name of the reward that says whether an answer is correct, or "auto": those correctness rewards that have
  ///     a weight, all of which must agree; `math` where none has.
  ///   - longestCompletion: steps that the run's budgets allow.
  /// - Throws: `ParameterError` naming the key.
  public init(
    weights: [String: Double], parameters: [String: ParameterValue] = [:], judge: String = "auto",
    longestCompletion: Int = 0
  ) throws {
    func make(_ name: String) throws -> any RewardFunction {
      let made = try RewardRegistry.parts.make(RewardRegistry.parts.describe(name, parameters))
      try made.validate(longestCompletion: longestCompletion)
      return made
    }
    for name in weights.keys.sorted() { _ = try RewardRegistry.parts.entry(name) }
    terms = try RewardRegistry.types.compactMap { type in
      guard let weight = weights[type.name], weight != 0 else { return nil }
      guard weight.isFinite else { throw ParameterError("\(type.name): must be finite, got \(weight)") }
      return Term(name: type.name, weight: Float(weight), function: try make(type.name))
    }
    let chosen: [String]
    if judge == "auto" {
      let correctness = terms.filter { $0.function.role == .correctness }.map(\.name)
      chosen = correctness.isEmpty ? [MathReward.name] : correctness
    } else {
      guard RewardRegistry.correctness.contains(judge) else {
        throw ParameterError(
          "judge: must be auto or a reward that counts in pass@k (\(RewardRegistry.correctness.joined(separator: ", "))), got "
            + judge)
      }
      chosen = [judge]
    }
    let made = Dictionary(uniqueKeysWithValues: terms.map { ($0.name, $0.function) })
    judges = try chosen.map { ($0, try made[$0] ?? make($0)) }
  }

  /// Whether one of them says which answers are right.
  public var judgesAnswers: Bool { terms.contains { $0.function.role == .correctness } }
  /// Of the rewards with a weight.
  public var names: [String] { terms.map(\.name) }
  /// Parallel to `names`.
  public var weights: [Double] { terms.map { Double($0.weight) } }

  /// The first reason for which a reward could not judge anything against a reference answer; nil: there is none.
  public func referenceFault(_ answer: String, fields: JSONObject? = nil) -> String? {
    terms.lazy.compactMap { $0.function.referenceFault(answer, fields: fields) }.first
  }

  /// Whether some of the rewards are given elsewhere: they are worth asking early.
  public var consults: Bool { terms.contains { $0.function is any ConsultedReward } }

  /// Asks those rewards that are given elsewhere, and returns at once.
  ///
  /// - Parameter asked: what they have been asked already, parallel to `queries`; where it is another query it is asked anew.
  /// - Returns: what `judge` is given, parallel to `queries`.
  public func ask(_ queries: [RewardQuery], asked: [AskedCompletion?] = []) -> [AskedCompletion] {
    var result = queries.enumerated().map { index, query in
      let known = index < asked.count ? asked[index] : nil
      return known?.query == query ? known! : AskedCompletion(query: query, verdicts: [:])
    }
    for term in terms {
      guard let function = term.function as? any ConsultedReward else { continue }
      let missing = result.indices.filter { result[$0].verdicts[term.name] == nil }
      for (index, verdict) in zip(missing, function.ask(missing.map { queries[$0] })) {
        result[index].verdicts[term.name] = verdict
      }
    }
    return result
  }

  /// Judges a step's completions, whole groups.
  ///
  /// - Parameter asked: what `ask` returned of them; the verdicts of those rewards are waited for.
  /// - Throws: what a reward throws to end the run.
  public func judge(_ queries: [RewardQuery], asked: [AskedCompletion?] = []) throws -> [JudgedCompletion] {
    var queries = queries
    var verdicts: [String: [RewardVerdict]] = [:]
    if consults {
      let asked = ask(queries, asked: asked)
      for term in terms where term.function is any ConsultedReward {
        verdicts[term.name] = asked.map { $0.verdicts[term.name]?.wait() ?? .notJudged(reason: "nobody was asked") }
      }
    }
    for term in terms where term.function.role == .correctness && verdicts[term.name] == nil {
      verdicts[term.name] = try Self.verdicts(term.function, term.name, queries)
    }
    // Where no reward reads it, it is said if it costs nothing more.
    let isRead = terms.contains { type(of: $0.function).readsCorrectness }
    if isRead || judges.allSatisfy({ verdicts[$0.name] != nil }) {
      let correct = try correctness(queries, known: verdicts)
      for index in queries.indices { queries[index].isCorrect = correct[index] }
    }
    for term in terms where verdicts[term.name] == nil {
      verdicts[term.name] = try Self.verdicts(term.function, term.name, queries)
    }
    return queries.indices.map { index in
      var judged = JudgedCompletion(total: 0, values: [], isCorrect: queries[index].isCorrect)
      for term in terms {
        switch verdicts[term.name]![index] {
        case .value(let value):
          judged.values.append(value)
          judged.total = judged.total.map { $0 + term.weight * value }
        case .notJudged(let reason):
          judged.values.append(nil)
          judged.total = nil
          judged.reason = judged.reason ?? "\(term.name): \(reason)"
        }
      }
      return judged
    }
  }

  /// Share of completions in which no answer was found, whether right or wrong; nil: no reward looks for one.
  ///
  /// - Parameter judged: what `judge` said of them. Where an answer was rewarded it was found, and is not looked for again.
  public func shareWithoutAnswer(_ queries: [RewardQuery], _ judged: [JudgedCompletion]) -> Double? {
    let nothing = Completion(text: "")
    guard !queries.isEmpty, let index = terms.firstIndex(where: { $0.function.hasAnswer(nothing) != nil }) else {
      return nil
    }
    let missing = zip(queries, judged).count { query, judged in
      judged.values[index] ?? 0 <= 0 && terms[index].function.hasAnswer(query.completion) == false
    }
    return Double(missing) / Double(queries.count)
  }

  /// What the rewards say about a completion, by name, where they say something.
  public func explanations(_ query: RewardQuery) -> [(name: String, text: String)] {
    terms.compactMap { term in term.function.explanation(query).map { (term.name, $0) } }
  }

  /// How completions vote in maj@k: as the first of the rewards that judge the answer has it; nil: none of them says.
  public var ballot: Ballot? { judges.lazy.compactMap(\.function.ballot).first }

  /// Whether each answer is correct: what pass@k counts. nil: it was not judged.
  public func correctness(_ queries: [RewardQuery]) throws -> [Bool?] { try correctness(queries, known: [:]) }

  private func correctness(_ queries: [RewardQuery], known: [String: [RewardVerdict]]) throws -> [Bool?] {
    var result = [Bool?](repeating: true, count: queries.count)
    for judge in judges {
      let verdicts = try known[judge.name] ?? Self.verdicts(judge.function, judge.name, queries)
      for (index, verdict) in verdicts.enumerated() {
        switch verdict {
        case .value(let value): result[index] = result[index].map { $0 && value >= 1 }
        case .notJudged: result[index] = nil
        }
      }
    }
    return result
  }

  private static func verdicts(
    _ function: any RewardFunction, _ name: String, _ queries: [RewardQuery]
  ) throws -> [RewardVerdict] {
    func ask(_ queries: [RewardQuery]) throws -> [RewardVerdict] {
      let verdicts = try function.rewards(for: queries)
      guard verdicts.count == queries.count else {
        throw TaskError(
          "reward.\(name): \(verdicts.count) verdicts for \(queries.count) completions; it must give one each")
      }
      return verdicts.map {
        if case .value(let value) = $0, !value.isFinite { return .notJudged(reason: "the reward is \(value)") }
        return $0
      }
    }
    guard type(of: function).scope == .group else { return try ask(queries) }
    var members: [Int: [Int]] = [:]
    for (index, query) in queries.enumerated() { members[query.group, default: []].append(index) }
    var result = [RewardVerdict](repeating: .notJudged(reason: ""), count: queries.count)
    for (_, indices) in members.sorted(by: { $0.key < $1.key }) {
      for (index, verdict) in zip(indices, try ask(indices.map { queries[$0] })) { result[index] = verdict }
    }
    return result
  }
}
