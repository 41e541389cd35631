import Parameters

/// D3S (arXiv 2509.22115; `VarianceSelection`): of the whole step the share N of trajectories whose advantages vary most; of their
/// steps the share K of largest |A| H. N and K grow linearly over the run. What is not selected has no loss; trajectories that are
/// not selected leave the denominator, steps that are not stay in it.
public struct D3S: Selection {
  public static let name = "d3s"
  public static let summary = "the trajectories whose advantages vary most, and their uncertain steps (2509.22115)"
  public static let parameters: [Parameter] = [
    .number("d3s_rollouts_initial", 0.5, .above(0, upTo: 1), "Share N of trajectories at the run's beginning."),
    .number("d3s_rollouts_final", 1, .above(0, upTo: 1), "Share N of trajectories at its end."),
    .number("d3s_tokens_initial", 0.2, .above(0, upTo: 1), "Share K of their steps at the run's beginning."),
    .number("d3s_tokens_final", 1, .above(0, upTo: 1), "Share K of their steps at its end."),
  ]

  public var initial: (rollouts: Double, tokenShare: Double)
  public var final: (rollouts: Double, tokenShare: Double)

  public init(_ values: ParameterValues) {
    initial = (values.number("d3s_rollouts_initial"), values.number("d3s_tokens_initial"))
    final = (values.number("d3s_rollouts_final"), values.number("d3s_tokens_final"))
  }

  public func select(_ credits: [Credit], of step: CreditStep, progress: Double) throws -> [Credit] {
    let candidates = credits.indices.filter { credits[$0].isKept }
    let now = VarianceSelection.scheduled(initial: initial, final: final, progress: progress)
    let selection = VarianceSelection(
      rollouts: max(1, Int((now.rollouts * Double(candidates.count)).rounded())), tokenShare: now.tokenShare)
    // Of advantages per step their mean.
    let advantages = candidates.map { index in Statistics(credits[index].advantages.map(Double.init)).mean }
    let chosen = selection.selected(advantages: advantages).indices
    var result = credits
    for (place, index) in candidates.enumerated() where !chosen.contains(place) {
      result[index] = Credit([0], isKept: false)
    }
    guard now.tokenShare < 1 else { return result }
    let entropy = candidates.map { step.trajectories[$0].entropy.map(Double.init) }
    guard zip(candidates, entropy).allSatisfy({ step.trajectories[$0].length == $1.count }) else {
      throw CreditError("learner.selection d3s needs the entropy of every scored step, which the trajectories lack")
    }
    var masks = entropy.map { [Float](repeating: 0, count: $0.count) }
    for token in try selection.tokens(advantages: advantages, entropy: entropy, selected: chosen) {
      masks[token[0]][token[1]] = 1
    }
    for place in chosen {
      let index = candidates[place]
      result[index].stepWeights =
        result[index].stepWeights.map { zip($0, masks[place]).map { $0 * $1 } } ?? masks[place]
    }
    return result
  }
}
