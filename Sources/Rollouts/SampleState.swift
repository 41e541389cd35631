import Kernels
import Thinking
import Trajectories
import Transformer

/// One sample in flight: a state machine that takes a row of logits and says what is fed next.
final class SampleState {
  enum Input {
    case token(Int32)
    /// What `soft` feeds: its mixture, or its vector.
    case mixture
    /// A recorded step of `replayed`: the mixture of its components, or its token.
    case replayed(segment: Int, step: Int)
  }

  let request: SamplingRequest
  let sampleIndex: Int
  /// Pages of the sequence, from position 0, at a fixed address while the sample lives.
  let table: AlignedBuffer<Int32>
  var pageCount = 0
  /// Positions whose keys and values are cached.
  var position: Int
  /// Fed in the next step, in order; only the last one's logits are needed.
  private(set) var inputs: [Input] = []
  /// Those of `inputs` that are fed already.
  private var fedInputs = 0
  /// The last soft step: what `.mixture` feeds.
  private(set) var soft: SoftStep
  /// What a thinking step is drawn from.
  private let view: ThinkingView
  private(set) var finishReason: FinishReason?
  /// What made the sample unusable.
  var failure: String?

  /// Soft segments that inputs refer to.
  private(set) var replayed: [SoftSegment] = []

  /// The stage of the plan that draws the next step; the plan ends with one that does.
  private var stage = 0
  /// Of the stage that thinks, while one does.
  private var thinking = Thinking()
  /// Position after the prompt of the next step: the noise counter's.
  private var step = 0
  private struct Thinking {
    var budget = 0
    var ends: [Int32] = []
    var forcedEnd: [Int32] = []
  }

  /// Of a vector over the whole vocabulary: the tokens that its mixture counts, and their logits.
  private var supportIDs: [Int32] = []
  private var supportLogits: [Float] = []
  /// Of the step that was drawn last.
  private var measures = StepMeasures()
  private var record = Record()
  /// What becomes of the trajectory.
  private struct Record {
    var soft = SoftSegment()
    var thinking = DiscreteSegment()
    var answer = DiscreteSegment()
    var segments: [Segment] = []
    /// Versions that drew steps after the first one's.
    var laterSpans: [VersionSpan] = []
  }

  init(_ request: SamplingRequest, sampleIndex: Int, pagesPerSequence: Int) {
    self.request = request
    self.sampleIndex = sampleIndex
    table = AlignedBuffer(count: pagesPerSequence)
    position = request.prompt.count
    view = request.policy.part.view
    soft = request.policy.records.map { SoftStep(for: $0) } ?? SoftStep()
    enter(0)
  }

  var pages: UnsafeMutableBufferPointer<Int32> { UnsafeMutableBufferPointer(start: table.base, count: pageCount) }
  /// Position after the prompt that is drawn next.
  var nextPosition: Int { step }
  var isDone: Bool { finishReason != nil || failure != nil }

  /// Draws the next step from the logits of the last position.
  ///
  /// - Parameters:
  ///   - row: logits of the whole vocabulary.
  ///   - hidden: the same position's final hidden state, from which the k recorded logits are computed exactly as the
  ///     learner will compute them.
  ///   - embeddingScale: the root mean square of the model's embeddings.
  /// - Throws: `ThinkingError` or `SamplingError` when logits are not finite.
  func advance(
    row: UnsafeBufferPointer<Float>, hidden: Operand, model: PreparedModel, embeddingScale: Float
  ) throws {
    inputs.removeAll(keepingCapacity: true)
    fedInputs = 0
    let noise = request.noise.step(
      group: request.groupOrdinal, sample: UInt32(sampleIndex), step: UInt32(step))
    step += 1
    switch request.plan.stages[stage] {
    case .think:
      if let continuation = request.policy.part.continuation, record.soft.count >= continuation.softSteps {
        try thinkDiscrete(continuation.sampling, row, noise)
        return
      }
      switch view {
      case .token(let sampling): try thinkDiscrete(sampling, row, noise)
      case .candidates(let steps): try thinkSoft(steps, row, hidden, model, noise)
      case .vector(let steps): try thinkVector(steps, row, hidden, model, embeddingScale, noise)
      }
    case .answer(let sampling, let budget, let stops):
      try answer(row, noise, sampling, budget: budget, stops: stops)
    case .force, .replay: preconditionFailure("stage \(stage) draws nothing")
    }
  }

  /// Not fed yet, in order.
  var waitingInputs: ArraySlice<Input> { inputs[fedInputs...] }

  /// The first of them, which counts as fed.
  func takeInput() -> Input {
    defer { fedInputs += 1 }
    return inputs[fedInputs]
  }

  /// Tells an observer what `advance` drew and what it forced.
  func describeLastStep(to observer: (SampledStep) -> Void) {
    if finishReason != nil {
      if let token = record.answer.tokenIDs.last { observer(.token(token)) }
      return
    }
    var forced: [Int32] = []
    for (index, input) in inputs.enumerated() {
      switch input {
      case .mixture: observer(.soft(ids: soft.tokenIDs, weights: soft.weights))
      case .replayed: break
      case .token(let token): if index == 0 { observer(.token(token)) } else { forced.append(token) }
      }
    }
    if !forced.isEmpty { observer(.forced(forced)) }
  }

  /// The next step is drawn by newer weights.
  func continues(under version: Int) {
    // A version without a step leaves no trace.
    if record.laterSpans.last?.start == step { record.laterSpans.removeLast() }
    record.laterSpans.append(VersionSpan(start: step, version: version))
  }

  /// The finished sample.
  func trajectory() -> Trajectory {
    Trajectory(
      promptID: request.promptID, groupID: Int(request.groupOrdinal), sampleIndex: sampleIndex, policy: request.policy,
      policyVersion: request.policyVersion, prompt: request.prompt, segments: record.segments,
      finishReason: finishReason ?? .length,
      versionSpans: record.laterSpans.isEmpty
        ? [] : [VersionSpan(start: 0, version: request.policyVersion)] + record.laterSpans)
  }

  private func thinkSoft(
    _ steps: any SoftSteps, _ row: UnsafeBufferPointer<Float>, _ hidden: Operand, _ model: PreparedModel,
    _ noise: StepNoise
  ) throws {
    if steps.endsOnLikeliest, let likeliest = try likeliestEnd(row) {
      let distribution = try DiscreteDistribution(
        measuring: row, temperature: request.policy.scoringTemperature, into: &measures)
      record.thinking.tokenIDs.append(likeliest)
      record.thinking.logProbs.append(distribution.logProb(ofLogit: row[Int(likeliest)]))
      record.thinking.streams.append(measures)
      return endThinking(after: .token(likeliest), isForced: false)
    }
    let largest = try withCandidates(steps.candidateCount, of: row, hidden: hidden, model: model) { ids, logits in
      try steps.draw(tokenIDs: ids, logits: logits, noise: noise, into: &soft)
    }
    let distribution = try DiscreteDistribution(
      measuring: row, temperature: request.policy.scoringTemperature, maximum: largest, into: &measures)
    let emitted = soft.emittedToken
    if thinking.ends.contains(emitted) {
      // The end is a discrete action: scored as a token, fed one-hot.
      record.thinking.tokenIDs.append(emitted)
      record.thinking.logProbs.append(endLogProb(steps, distribution.logProb(ofLogit: row[Int(emitted)])))
      record.thinking.streams.append(measures)
      return endThinking(after: .token(emitted), isForced: false)
    }
    record.soft.tokenIDs.append(soft.tokenIDs)
    record.soft.values.append(soft.values)
    if steps.scoresFullVocabulary {
      for slot in 0..<steps.slotCount {
        record.soft.logProbs.append(distribution.logProb(ofLogit: row[Int(soft.tokenIDs[slot])]))
      }
    } else {
      record.soft.logProbs += soft.logProbs
    }
    record.soft.streams.append(measures)
    if record.soft.count >= thinking.budget {
      endThinking(after: .mixture, isForced: true)
    } else {
      inputs.append(.mixture)
    }
  }

  /// The likeliest token of a row, where it is an end.
  private func likeliestEnd(_ row: UnsafeBufferPointer<Float>) throws -> Int32? {
    let greedy = DiscreteSampling(temperature: 0)
    let token = try sampleDiscreteToken(
      row: row, sampling: greedy, noise: request.noise.step(group: 0, sample: 0, step: 0))
    return thinking.ends.contains(token) ? token : nil
  }

  /// Draws a vector. An end that the likeliest token brings has no probability: it is fed as forced text is, and not scored.
  private func thinkVector(
    _ steps: any VectorSteps, _ row: UnsafeBufferPointer<Float>, _ hidden: Operand, _ model: PreparedModel,
    _ embeddingScale: Float, _ noise: StepNoise
  ) throws {
    func draw(_ ids: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>) throws {
      try steps.draw(
        tokenIDs: ids, logits: logits, embeddings: model.embeddingTable, embeddingScale: embeddingScale, noise: noise,
        into: &soft)
    }
    if let k = steps.candidateCount {
      try withCandidates(k, of: row, hidden: hidden, model: model, draw)
    } else {
      try steps.support(of: row, ids: &supportIDs, logits: &supportLogits)
      try supportIDs.withUnsafeBufferPointer { ids in
        try supportLogits.withUnsafeBufferPointer { try draw(ids, $0) }
      }
    }
    let emitted = soft.emittedToken
    if thinking.ends.contains(emitted) {
      return endThinking(after: .token(emitted), isForced: false, unscored: emitted)
    }
    record.soft.tokenIDs.append(soft.tokenIDs)
    record.soft.values.append(soft.values)
    record.soft.logProbs += soft.logProbs
    _ = try DiscreteDistribution(measuring: row, temperature: request.policy.scoringTemperature, into: &measures)
    record.soft.streams.append(measures)
    if record.soft.count >= thinking.budget {
      endThinking(after: .mixture, isForced: true)
    } else {
      inputs.append(.mixture)
    }
  }

  /// The log-prob of the token that ends the thinking: `full`, that over the whole vocabulary, or under the step's support where
  /// the policy scores it so.
  private func endLogProb(_ steps: any SoftSteps, _ full: Float) -> Float {
    guard steps.endIsScoredUnderSupport else { return full }
    let temperature = request.policy.scoringTemperature
    let (ids, logits) = soft.support()
    var support = RaggedRows<Int32>()
    support.append(ids)
    record.thinking.support = support
    var logProb: Float = .nan
    ids.withUnsafeBufferPointer { ids in
      logits.withUnsafeBufferPointer { logits in
        withUnsafeMutablePointer(to: &logProb) {
          TokenUnderSupport(temperature: temperature).score(
            StepRecord(ids: ids, values: UnsafeBufferPointer(start: nil, count: 0)), logits: logits,
            into: UnsafeMutableBufferPointer(start: $0, count: 1))
        }
      }
    }
    return logProb
  }

  private func thinkDiscrete(
    _ sampling: DiscreteSampling, _ row: UnsafeBufferPointer<Float>, _ noise: StepNoise
  ) throws {
    let token = try draw(row, sampling, noise, into: &record.thinking)
    if sampling.temperature == 0 { record.thinking.temperature = sampling.scoringTemperature }
    if thinking.ends.contains(token) {
      endThinking(after: .token(token), isForced: false)
    } else if record.soft.count + record.thinking.tokenIDs.count >= thinking.budget {
      endThinking(after: .token(token), isForced: true)
    } else {
      inputs.append(.token(token))
    }
  }

  private func answer(
    _ row: UnsafeBufferPointer<Float>, _ noise: StepNoise, _ sampling: DiscreteSampling, budget: Int, stops: [Int32]
  ) throws {
    let token = try draw(row, sampling, noise, into: &record.answer)
    let reason: FinishReason? =
      stops.contains(token) ? .stop : record.answer.tokenIDs.count >= budget ? .length : nil
    guard let reason else {
      inputs.append(.token(token))
      return
    }
    record.segments.append(.discrete(record.answer))
    if stage == request.plan.stages.count - 1 {
      finishReason = reason
    } else {
      inputs.append(.token(token))
      enter(stage + 1)
    }
  }

  /// Draws a token and records it.
  private func draw(
    _ row: UnsafeBufferPointer<Float>, _ sampling: DiscreteSampling, _ noise: StepNoise,
    into segment: inout DiscreteSegment
  ) throws -> Int32 {
    let token = try sampleDiscreteToken(row: row, sampling: sampling, noise: noise)
    let distribution = try DiscreteDistribution(
      measuring: row, temperature: sampling.scoringTemperature, into: &measures)
    segment.tokenIDs.append(token)
    segment.logProbs.append(distribution.logProb(ofLogit: row[Int(token)]))
    segment.streams.append(measures)
    return token
  }

  /// Closes the thinking; what is forced follows the last thinking step in the same pass.
  ///
  /// - Parameter unscored: the end token, when it is fed without being scored.
  private func endThinking(after last: Input?, isForced: Bool, unscored: Int32? = nil) {
    if record.soft.count > 0 { record.segments.append(.soft(record.soft)) }
    if !record.thinking.tokenIDs.isEmpty { record.segments.append(.discrete(record.thinking)) }
    if let unscored { record.segments.append(.forced([unscored])) }
    if let last { inputs.append(last) }
    if isForced { force(thinking.forcedEnd) }
    enter(stage + 1)
  }

  /// Feeds what is only fed, up to the next stage that draws.
  private func enter(_ next: Int) {
    stage = next
    switch request.plan.stages[next] {
    case .think(let budget, let ends, let forcedEnd):
      thinking = Thinking(budget: budget, ends: ends, forcedEnd: forcedEnd)
      record.soft = SoftSegment()
      record.thinking = DiscreteSegment()
      if budget == 0 { return endThinking(after: nil, isForced: true) }
      switch view {
      case .token:
        record.thinking.tokenIDs.reserveCapacity(budget)
        record.thinking.logProbs.reserveCapacity(budget)
      case .vector(let steps):
        record.soft.tokenIDs.reserveCapacity(rows: budget, elementsPerRow: steps.recordWidth)
        record.soft.logProbs.reserveCapacity(budget)
      case .candidates(let steps):
        record.soft.tokenIDs.reserveCapacity(rows: budget, elementsPerRow: steps.recordWidth)
        record.soft.values.reserveCapacity(rows: budget, elementsPerRow: steps.recordWidth)
        record.soft.logProbs.reserveCapacity(budget * steps.slotCount)
      }
    case .answer(let sampling, let budget, _):
      record.answer = DiscreteSegment(temperature: sampling.scoringTemperature)
      record.answer.tokenIDs.reserveCapacity(budget)
      record.answer.logProbs.reserveCapacity(budget)
    case .force(let tokenIDs):
      force(tokenIDs)
      enter(next + 1)
    case .replay(let steps):
      replay(steps)
      enter(next + 1)
    }
  }

  private func force(_ tokenIDs: [Int32]) {
    guard !tokenIDs.isEmpty else { return }
    // Runs that follow each other are one segment.
    if case .forced(let before)? = record.segments.last {
      record.segments[record.segments.count - 1] = .forced(before + tokenIDs)
    } else {
      record.segments.append(.forced(tokenIDs))
    }
    step += tokenIDs.count
    for token in tokenIDs { inputs.append(.token(token)) }
  }

  private func replay(_ steps: ReplayedSteps) {
    record.segments.append(.replayed(steps))
    step += steps.count
    switch steps {
    case .tokens(let tokenIDs): for token in tokenIDs { inputs.append(.token(token)) }
    case .soft(let soft):
      replayed.append(soft)
      for step in 0..<soft.count { inputs.append(.replayed(segment: replayed.count - 1, step: step)) }
    }
  }
}
