import Credit
import JSON

/// Advantages whose inputs no run has yet.
let creditFunctionEntries: [MethodEntry] = [
  MethodEntry("optimal_token_baseline", "function optimalTokenBaselineAdvantages") { method in
    try method.require(options: ["epsilon"])
    let epsilon = try method.number(option: "epsilon", default: 1e-8)
    let (probability, squares) = (
      try method.value.rows("probability"), try method.value.rows("sum_probability_squared")
    )
    var start = 0
    let advantages = try method.value.list("groups").map { group in
      let rewards = try group.doubles("rewards")
      guard start + rewards.count <= min(probability.count, squares.count) else {
        throw UnsupportedCase("there are fewer lists of probabilities than rewards")
      }
      defer { start += rewards.count }
      let members = start..<start + rewards.count
      return json(
        try optimalTokenBaselineAdvantages(
          rewards: rewards, probability: Array(probability[members]), sumOfSquares: Array(squares[members]),
          epsilon: epsilon))
    }
    return ["advantages": .array(advantages)]
  },
  MethodEntry("rank", "function rankAdvantages") { method in
    try method.require(options: ["scale", "epsilon"])
    return [
      "advantages": json(
        try rankAdvantages(
          rewards: method.value.rows("rewards"), scales: method.flag(option: "scale", default: true),
          epsilon: method.number(option: "epsilon", default: 1e-4)))
    ]
  },
  MethodEntry("remax", "function remaxAdvantages") { method in
    try method.require(options: [])
    return [
      "advantages": json(
        try remaxAdvantages(
          tokenRewards: method.value.rows("token_rewards"), greedyRewards: method.value.doubles("greedy_rewards")))
    ]
  },
  MethodEntry("seed_grpo", "function SemanticEntropyScaling") { method in
    try method.require(options: ["estimator", "f", "alpha"])
    let scaling = SemanticEntropyScaling(
      estimator: try method.choice(option: "estimator", default: .clusterMean),
      form: try method.choice(option: "f", default: .reciprocal),
      alpha: try method.number(option: "alpha", default: 0.0417))
    let answers = try method.value.texts("answers")
    return [
      "semantic_entropy": json(scaling.semanticEntropy(answers: answers)),
      "factor": json(scaling.factor(answers: answers)),
      "advantages": json(try scaling.advantages(rewards: method.value.doubles("rewards"), answers: answers)),
    ]
  },
  MethodEntry("segment_chain", "function SegmentChain") { method in
    try method.require(options: ["probability_cut", "interval"])
    let chain = SegmentChain(
      probabilityCut: try method.number(option: "probability_cut", default: 0.9),
      interval: try method.integer(option: "interval", default: 5))
    let probabilities = try method.value.doubles("probabilities")
    return [
      "cut_points": json(chain.cutPoints(probabilities: probabilities)),
      "advantages": json(
        try chain.advantages(
          probabilities: probabilities, values: method.value.doubles("values"), score: method.value.double("score"))),
    ]
  },
  MethodEntry("segment_tree", "function SegmentTree") { method in
    try method.require(options: ["form"])
    let form = try method.text(option: "form", default: "rloo")
    guard form == "rloo" || form == "grpo" else { throw UnsupportedCase("form \(form) is not built") }
    func node(_ value: JSONValue) throws -> SegmentTree.Node {
      guard let children = value["children"]?.arrayValue, !children.isEmpty else {
        return .leaf(reward: try value.double("reward"))
      }
      return .inner(try children.map(node))
    }
    let edges = SegmentTree(dividesByDeviation: form == "grpo").edges(try node(method["tree"] ?? .null))
    return [
      "edges": .array(
        edges.map {
          .members([
            "path": json($0.path), "value": json($0.value), "advantage": json($0.advantage),
            "trained": .bool($0.isTrained),
          ])
        })
    ]
  },
  MethodEntry("tempo", "function tempoAdvantages") { method in
    try method.require(options: ["normalise", "epsilon"])
    return [
      "advantages": .array(
        try method.value.list("groups").map { group in
          json(
            try tempoAdvantages(
              rewards: group.doubles("rewards"),
              tokenIDs: group.tokenRows("token_ids"),
              normalises: method.flag(option: "normalise", default: true),
              epsilon: method.number(option: "epsilon", default: 1e-6)))
        })
    ]
  },
  MethodEntry("tree_subgroup", "function TreeSubgroups") { method in
    try method.require(options: ["weight", "skip_equal_subgroups"])
    let weight = try method.text(option: "weight", default: "average")
    guard weight == "average" || weight == "group_size" else { throw UnsupportedCase("weight \(weight) is not built") }
    let tree = TreeSubgroups(
      weighsBySize: weight == "group_size",
      skipsEqualSubgroups: try method.flag(option: "skip_equal_subgroups", default: false))
    let leaves = try method.value.list("leaves").map {
      TreeSubgroups.Leaf(path: try $0.texts("path"), reward: try $0.double("reward"), length: try $0.integer("length"))
    }
    return ["advantages": json(try tree.advantages(leaves))]
  },
  MethodEntry("tw_grpo", "function tokenDivergenceWeights") { method in
    try method.require(options: ["maximum_weight"])
    let distributions = try method.value.list("log_distributions").map { member in
      try (member.arrayValue ?? []).map { try $0.asDoubles("log_distributions") }
    }
    let weights = try tokenDivergenceWeights(
      logDistributions: distributions, maximumWeight: method.number(option: "maximum_weight", default: 1.4))
    return ["weights": json(distributions.map { Array(weights.prefix($0.count)) })]
  },
  MethodEntry("xrpo_novelty", "function NoveltyBonus") { method in
    try method.require(options: ["lambda", "kappa"])
    let bonus = NoveltyBonus(
      lambda: try method.number(option: "lambda", default: 1), kappa: try method.number(option: "kappa", default: 0.5))
    return [
      "advantages": json(
        try bonus.advantages(rewards: method.value.doubles("rewards"), logProbs: method.value.rows("log_probs")))
    ]
  },
]
