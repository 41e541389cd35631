import Foundation
import Kernels
import Objectives
import TestSupport
import Thinking
import Trajectories

/// The scores and the loss of docs/algorithm.md in Double over the naive transformer, one trajectory at a time.
struct NaiveUpdate {
  /// Input embeddings of each trajectory (prompt and completion but its last step): detached, so fixed once built.
  var inputs: [[Double]] = []
  var trajectories: [Trajectory] = []

  /// Softmax of the recorded ids' logits.
  static func softmax(_ logits: [Double], _ policy: ThinkingPolicy) -> [Double] {
    Naive.logSoftmax(logits, temperature: Double(policy.temperature)).map { exp($0) }
  }

  static func softScore(_ logits: [Double], _ values: [Double], _ policy: ThinkingPolicy) -> Double {
    let q = softmax(logits, policy)
    if policy.density == .concrete {
      let d = values.map { $0 - values.max()! }
      let margin = Double(policy.gumbelTemperature) * log(1 / Double(policy.mixtureFloor))
      var area = 0.0
      for index in q.indices { area += q[index] * exp(index < d.count ? -d[index] : margin) }
      let sum = d.indices.reduce(0.0) { $0 + log(q[$1]) - d[$1] }
      return sum - Double(d.count) * log(area) + lgamma(Double(d.count))
    }
    var (total, count) = (0.0, 0)
    for (index, value) in values.enumerated() {
      let logQ = log(q[index] + 1e-6)
      var u = (value - logQ) / Double(policy.noiseScale)
      if policy.density == .reference {
        if logQ <= -3 { continue }
        u = min(max(u, -1.5), 3)
      }
      total += -u - exp(-u)
      count += 1
    }
    if policy.density == .exact { return total }
    return count == 0 ? 0 : total / Double(count)
  }

  static func softKL(_ theta: [Double], _ reference: [Double], _ policy: ThinkingPolicy) -> Double {
    let (q, r) = (softmax(theta, policy), softmax(reference, policy))
    if policy.density == .concrete { return q.indices.reduce(0) { $0 + q[$1] * log(q[$1] / r[$1]) } }
    var (total, count) = (0.0, 0)
    for index in q.indices {
      let logQ = log(q[index] + 1e-6)
      if policy.density == .reference && logQ <= -3 { continue }
      let d = (log(r[index] + 1e-6) - logQ) / Double(policy.noiseScale)
      total += exp(d) - 1 - d
      count += 1
    }
    return policy.density == .exact ? total : total / Double(max(count, 1))
  }

  /// Log-probs of the scored steps in order, and the recorded ids' logits of the soft ones.
  func scores(_ index: Int, _ twin: NaiveTransformer) -> (logProbs: [Double], softLogits: [[Double]?]) {
    let (trajectory, v) = (trajectories[index], twin.shape.vocabulary)
    let logits = twin.logits(inputs[index])
    var row = trajectory.prompt.count - 1
    var (logProbs, soft): ([Double], [[Double]?]) = ([], [])
    for segment in trajectory.segments {
      for step in 0..<segment.count {
        let scores = Array(logits[row * v..<(row + 1) * v])
        switch segment {
        case .soft(let segment):
          let chosen = segment.tokenIDs[step].map { scores[Int($0)] }
          logProbs.append(Self.softScore(chosen, segment.values[step].map { Double($0) }, trajectory.policy))
          soft.append(chosen)
        case .discrete(let segment):
          let temperature = Double(segment.temperature ?? trajectory.policy.temperature)
          logProbs.append(Naive.logSoftmax(scores, temperature: temperature)[Int(segment.tokenIDs[step])])
          soft.append(nil)
        case .forced, .replayed: break
        }
        row += 1
      }
    }
    return (logProbs, soft)
  }

  /// Policy loss and KL loss (without its coefficient) of the batch. The reference is fed its own embeddings.
  /// `corrections` are factors of the steps' policy losses.
  func losses(
    _ twin: NaiveTransformer, reference: NaiveTransformer?, batch: [Double], oldLogProbs: [[Double]], weight: Double,
    loss objective: Loss, corrections: [[Double]]? = nil
  ) -> (policy: Double, kl: Double) {
    guard let clip = objective.objective as? Clipped else {
      preconditionFailure("the twin knows the clipped objective")
    }
    var (policy, kl) = (0.0, 0.0)
    for index in trajectories.indices {
      let (logProbs, soft) = scores(index, twin)
      let referenceScores = reference.map { fed(to: $0).scores(index, $0) }
      for (step, logProb) in logProbs.enumerated() {
        let (rho, advantage) = (exp(logProb - oldLogProbs[index][step]), batch[index])
        let clipped = min(max(rho, 1 - Double(clip.clipLow)), 1 + Double(clip.clipHigh))
        var loss = max(-advantage * rho, -advantage * clipped)
        if let bound = clip.dualClip, advantage < 0 { loss = min(loss, -advantage * Double(bound)) }
        policy += weight * loss * (corrections?[index][step] ?? 1)
        guard let referenceScores else { continue }
        if objective.klEstimator == .exact, let theta = soft[step], let fixed = referenceScores.softLogits[step] {
          kl += weight * Self.softKL(theta, fixed, trajectories[index].policy)
        } else {
          let r = referenceScores.logProbs[step] - logProb
          kl += weight * (exp(r) - r - 1)
        }
      }
    }
    return (policy, kl)
  }

  /// Input embeddings of a trajectory as a model of these embeddings is fed it, but for the last step.
  static func inputs(_ trajectory: Trajectory, _ twin: NaiveTransformer) -> [Double] {
    var all = twin.embed(trajectory.prompt)
    for segment in trajectory.segments {
      switch segment {
      case .soft(let soft), .replayed(.soft(let soft)):
        for step in 0..<soft.count {
          all += mixture(Array(soft.tokenIDs[step]), Array(soft.values[step]), trajectory.policy, twin)
        }
      case .discrete(let discrete): all += twin.embed(discrete.tokenIDs)
      case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): all += twin.embed(tokenIDs)
      }
    }
    return trajectory.completionCount == 0 ? all : Array(all.dropLast(twin.shape.hidden))
  }

  /// The same trajectories as another model is fed them.
  func fed(to twin: NaiveTransformer) -> NaiveUpdate {
    NaiveUpdate(inputs: trajectories.map { Self.inputs($0, twin) }, trajectories: trajectories)
  }

  private static func mixture(
    _ ids: [Int32], _ values: [Float], _ policy: ThinkingPolicy, _ twin: NaiveTransformer
  ) -> [Double] {
    let weights = values.map { exp(Double($0 - values[0]) / Double(policy.gumbelTemperature)) }
    let total = weights.reduce(0, +)
    var x = [Double](repeating: 0, count: twin.shape.hidden)
    for (id, weight) in zip(ids, weights) {
      for (index, value) in twin.embed([id]).enumerated() { x[index] += weight / total * value }
    }
    return x
  }

  /// Appends a trajectory sampled from the twin: soft steps, forced text, discrete tokens.
  mutating func sample(
    _ twin: NaiveTransformer, prompt: [Int32], soft: Int, forced: [Int32], discrete: Int, policy: ThinkingPolicy,
    seed: UInt64
  ) {
    var random = SeededRandom(seed)
    var all = twin.embed(prompt)
    func lastLogits() -> [Double] { Array(twin.logits(all).suffix(twin.shape.vocabulary)) }
    var segment = SoftSegment()
    for _ in 0..<soft {
      let logits = lastLogits()
      let ids = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(policy.topK)
      let q = Self.softmax(ids.map { logits[$0] }, policy)
      // Noise mostly inside the clamp, now and then beyond it; never at its edge.
      let noisy = zip(ids, q).map { id, q in
        let noise = 0.4 + 2.4 * Double(random.value())
        return (id: Int32(id), value: Float(log(q + 1e-6) + Double(policy.noiseScale) * noise))
      }.sorted { $0.value > $1.value }
      var fed = noisy
      if policy.density == .concrete {
        let margin = policy.gumbelTemperature * Float(log(1 / Double(policy.mixtureFloor)))
        fed = noisy.filter { $0.value >= noisy[0].value - margin }
      }
      segment.tokenIDs.append(noisy.map(\.id))
      segment.values.append(fed.map(\.value))
      all += Self.mixture(noisy.map(\.id), fed.map(\.value), policy, twin)
    }
    all += twin.embed(forced)
    var tokens = DiscreteSegment(temperature: 0.8)
    for _ in 0..<discrete {
      tokens.tokenIDs.append(Int32(random.next() % UInt64(twin.shape.vocabulary)))
      all += twin.embed([tokens.tokenIDs.last!])
    }
    var segments: [Segment] = []
    if soft > 0 { segments.append(.soft(segment)) }
    if !forced.isEmpty { segments.append(.forced(forced)) }
    if discrete > 0 { segments.append(.discrete(tokens)) }
    trajectories.append(
      Trajectory(
        promptID: "p\(prompt.first ?? 0)", groupID: 0, sampleIndex: trajectories.count, policy: policy,
        policyVersion: 0, prompt: prompt, segments: segments, finishReason: .stop))
    inputs.append(Self.inputs(trajectories.last!, twin))
  }

  /// Two groups of three: soft only, soft with an answer, discrete only.
  static func sampled(_ twin: NaiveTransformer, _ policy: ThinkingPolicy, prompts: [[Int32]]) -> NaiveUpdate {
    var update = NaiveUpdate()
    for (index, prompt) in prompts.enumerated() {
      let seed = UInt64(100 * (index + 1))
      update.sample(twin, prompt: prompt, soft: 4, forced: [3, 5], discrete: 3, policy: policy, seed: seed)
      update.sample(twin, prompt: prompt, soft: 6, forced: [], discrete: 0, policy: policy, seed: seed + 1)
      update.sample(twin, prompt: prompt, soft: 0, forced: [], discrete: 4, policy: policy, seed: seed + 2)
    }
    return update
  }
}
