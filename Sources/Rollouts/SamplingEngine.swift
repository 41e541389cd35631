import Kernels
import Thinking
import Trajectories
import Transformer

/// Samples trajectories with continuous batching: a finished sample's slot is refilled at once, a group's prompt is
/// computed once and its key/value pages are shared.
///
/// A trajectory is a function of its request and the weights alone: batch composition, slots and threads leave no trace
/// in it (bitwise with bf16 products). One thread at a time may use an engine.
///
///     let engine = try SamplingEngine(model: model, slots: 32, maximumPositions: 2048, team: team)
///     try engine.submit(request)
///     while !engine.isIdle { for sample in try engine.step() { … } }
public final class SamplingEngine {
  public private(set) var model: PreparedModel
  public private(set) var statistics = SamplingStatistics()
  /// Called for every drawn step, in slot order, after each batched step; for interactive use.
  public var observer: ((SampledStep) -> Void)?
  /// Learns where the time of `step` goes, for benchmarks.
  public var stages: StageClock?
  public let slots: Int
  public let maximumPositions: Int

  /// A prompt whose pages wait for, or are used by, its samples.
  private final class Prompt {
    var request: SamplingRequest
    var remaining: ArraySlice<Int>
    var pages: [Int32] = []
    /// The last position's hidden state: every sample's first logits come from it.
    let hidden: OperandBuffer
    var isComputed = false

    init(_ request: SamplingRequest, width: Int, computeType: ComputeType) {
      self.request = request
      hidden = OperandBuffer(count: width, computeType: computeType)
      remaining = request.sampleIndices[...]
    }
  }

  private static let prefillRows = 256
  private static let logitRows = 64

  private let team: ThreadTeam
  private let workspace: ForwardWorkspace
  private let pages: KeyValuePages
  private var pool: PagePool
  private let pagesPerSequence: Int
  private var active: [SampleState] = []
  private var waiting: [Prompt] = []
  /// `embeddingScale` of the model; nil: not computed.
  private var knownEmbeddingScale: Float?
  private let hidden_TC: OperandBuffer
  private let logits_TV: AlignedBuffer<Float>
  private let locations: AlignedBuffer<RowLocation>
  private let writes: AlignedBuffer<CacheWrite>

  /// - Parameters:
  ///   - slots: samples decoded at once.
  ///   - maximumPositions: longest sequence, prompt and completion; memory for slots x this many positions is taken.
  /// - Throws: `SamplingError` for sizes out of range.
  public init(model: PreparedModel, slots: Int, maximumPositions: Int, team: ThreadTeam) throws {
    guard slots >= 1, maximumPositions >= 2, maximumPositions <= model.rotary.positions else {
      throw SamplingError(
        "an engine needs at least 1 slot and 2 to \(model.rotary.positions) positions, got \(slots) and \(maximumPositions)"
      )
    }
    self.model = model
    self.slots = slots
    self.maximumPositions = maximumPositions
    self.team = team
    let c = model.configuration
    pagesPerSequence = PageGeometry.pageCount(positions: maximumPositions)
    // Every slot's sequence and one prompt that waits for slots: admission can never run out of pages.
    let pageCount = (slots + 1) * pagesPerSequence
    pages = KeyValuePages(
      geometry: model.geometry, layers: c.layerCount, pages: pageCount, computeType: model.computeType)
    pool = PagePool(pages: pageCount)
    let rows = max(Self.prefillRows, 2 * slots)
    workspace = ForwardWorkspace(c, maximumRows: rows, computeType: model.computeType)
    locations = AlignedBuffer(count: rows)
    writes = AlignedBuffer(count: rows)
    hidden_TC = OperandBuffer(count: slots * c.hiddenSize, computeType: model.computeType)
    logits_TV = AlignedBuffer(count: min(slots, Self.logitRows) * c.vocabularySize)
  }

  public var isIdle: Bool { active.isEmpty && waiting.isEmpty }
  public var activeSlots: Int { active.count }

  /// Queues a request.
  ///
  /// - Throws: `SamplingError` when it does not fit the model or the engine.
  public func submit(_ request: SamplingRequest) throws {
    try request.validate(
      vocabularySize: model.configuration.vocabularySize, hiddenSize: model.configuration.hiddenSize,
      maximumPositions: maximumPositions)
    if request.sampleIndices.isEmpty { return }
    waiting.append(Prompt(request, width: model.configuration.hiddenSize, computeType: model.computeType))
  }

  /// Forgets a request's samples, finished ones excepted.
  public func cancel(_ requestID: UInt64) {
    for prompt in waiting where prompt.request.id == requestID { pool.release(prompt.pages) }
    waiting.removeAll { $0.request.id == requestID }
    for state in active where state.request.id == requestID { pool.release(state.pages) }
    active.removeAll { $0.request.id == requestID }
  }

  /// Forgets some of a request's samples, finished ones excepted.
  public func cancel(_ requestID: UInt64, samples: [Int]) {
    for prompt in waiting where prompt.request.id == requestID {
      prompt.remaining.removeAll { samples.contains($0) }
      if prompt.remaining.isEmpty { pool.release(prompt.pages) }
    }
    waiting.removeAll { $0.remaining.isEmpty }
    func isCancelled(_ state: SampleState) -> Bool {
      state.request.id == requestID && samples.contains(state.sampleIndex)
    }
    for state in active where isCancelled(state) { pool.release(state.pages) }
    active.removeAll(where: isCancelled)
  }

  /// Takes up new weights of the same shape.
  ///
  /// - Parameter version: their version, when samples may go on under it (partial rollouts): those in flight keep the keys and
  ///   values that older weights computed, and record from which step on the new version drew; samples that have not begun
  ///   begin anew with it. nil: nothing may be in flight.
  /// - Throws: `SamplingError` while samples of the old ones are in flight and no version is given.
  public func replaceModel(_ model: PreparedModel, continuingAs version: Int? = nil) throws {
    guard isIdle || version != nil else {
      throw SamplingError("weights cannot be replaced while \(active.count) samples are in flight")
    }
    guard model.configuration == self.model.configuration, model.computeType == self.model.computeType,
      model.rotary.positions >= maximumPositions
    else { throw SamplingError("the new weights are of another shape; make a new engine") }
    self.model = model
    knownEmbeddingScale = nil
    guard let version else { return }
    for state in active { state.continues(under: version) }
    for prompt in waiting {
      prompt.request.policyVersion = version
      // Its keys and values are the old weights'; the samples that share them already keep them.
      pool.release(prompt.pages)
      prompt.pages = []
      prompt.isComputed = false
    }
  }

  /// One batched step: fills free slots, decodes every active sample once, returns the finished ones.
  ///
  /// - Throws: `SamplingError` naming the sample whose logits were not usable; that sample is dropped, the others go on.
  public func step() throws -> [SampledTrajectory] {
    stages?.resume()
    admit()
    stages?.mark(.prefill)
    let width = model.configuration.hiddenSize
    var next = 0
    // A step's rows: as many samples at a time as the workspace holds (forced and replayed runs take several rows).
    for state in active { feedLongRun(of: state, width: width) }
    while next < active.count {
      var rows = 0
      let first = next
      while next < active.count, rows + active[next].waitingInputs.count <= workspace.maximumRows {
        rows += active[next].waitingInputs.count
        next += 1
      }
      if rows > 0 { decode(first..<next, rows: rows, width: width) }
    }
    drawAll(width: width)
    statistics.steps += 1

    var finished: [SampledTrajectory] = []
    var failure: SamplingError?
    for state in active where state.isDone {
      pool.release(state.pages)
      if let reason = state.failure {
        failure =
          failure
          ?? SamplingError("prompt \(state.request.promptID) sample \(state.sampleIndex): \(reason)")
      } else {
        finished.append(SampledTrajectory(requestID: state.request.id, trajectory: state.trajectory()))
      }
    }
    active.removeAll { $0.isDone }
    stages?.mark(.other)
    if let failure { throw failure }
    return finished
  }

  // MARK: Admission

  private func admit() {
    while active.count < slots, let prompt = waiting.first {
      if !prompt.isComputed { prefill(prompt) }
      guard let sample = prompt.remaining.popFirst() else {
        waiting.removeFirst()
        continue
      }
      active.append(fork(prompt, sample: sample))
      if prompt.remaining.isEmpty {
        pool.release(prompt.pages)
        waiting.removeFirst()
      }
    }
  }

  /// Computes a prompt's keys and values, in chunks, and its last hidden state.
  private func prefill(_ prompt: Prompt) {
    let tokens = prompt.request.prompt
    let width = model.configuration.hiddenSize
    prompt.pages = (0..<PageGeometry.pageCount(positions: tokens.count)).map { _ in pool.take() }
    prompt.pages.withUnsafeBufferPointer { table in
      for start in stride(from: 0, to: tokens.count, by: Self.prefillRows) {
        let count = min(Self.prefillRows, tokens.count - start)
        for row in 0..<count {
          place(row, position: start + row, table: table.baseAddress!)
          model.embed(token: tokens[start + row], into: workspace.x_TC.base + row * width)
        }
        forward(rows: count, stages: nil)
        if start + count == tokens.count {
          model.finalNorm(workspace.x_TC.base + (count - 1) * width, rows: 1, into: prompt.hidden.operand, team: team)
        }
      }
    }
    prompt.isComputed = true
    statistics.prefilledTokens += tokens.count
  }

  /// A new sample on a prompt's pages: full ones shared, the partly filled last one copied.
  private func fork(_ prompt: Prompt, sample: Int) -> SampleState {
    let state = SampleState(prompt.request, sampleIndex: sample, pagesPerSequence: pagesPerSequence)
    let full = prompt.request.prompt.count / PageGeometry.blockLength
    for (index, page) in prompt.pages.enumerated() {
      if index < full {
        pool.share(page)
        state.table.base[index] = page
      } else {
        let own = pool.take()
        pages.copyPage(from: Int(page), to: Int(own))
        state.table.base[index] = own
      }
    }
    state.pageCount = prompt.pages.count
    // The prompt's hidden state goes where this sample's would be after a decode.
    copyHidden(prompt.hidden.operand, to: active.count)
    return state
  }

  private func copyHidden(_ source: Operand, to index: Int) {
    let width = model.configuration.hiddenSize
    switch (source, hidden_TC.operand.advanced(by: index * width)) {
    case (.float32(let from), .float32(let to)): to.update(from: from, count: width)
    case (.bfloat16(let from), .bfloat16(let to)): to.update(from: from, count: width)
    default: preconditionFailure("one engine has one compute type")
    }
  }

  // MARK: Decoding

  /// Feeds the inputs that the workspace cannot hold at once, but for a last part.
  private func feedLongRun(of state: SampleState, width: Int) {
    while state.waitingInputs.count > workspace.maximumRows {
      for row in 0..<workspace.maximumRows { feed(state.takeInput(), of: state, row: row, width: width) }
      forward(rows: workspace.maximumRows, stages: stages)
    }
  }

  /// Places one input in a row of the workspace.
  private func feed(_ input: SampleState.Input, of state: SampleState, row: Int, width: Int) {
    if state.position % PageGeometry.blockLength == 0 {
      state.table.base[state.pageCount] = pool.take()
      state.pageCount += 1
    }
    place(row, position: state.position, table: UnsafePointer(state.table.base))
    let x = workspace.x_TC.base + row * width
    switch input {
    case .token(let token): model.embed(token: token, into: x)
    case .mixture:
      state.soft.tokenIDs.withUnsafeBufferPointer { ids in
        state.soft.values.withUnsafeBufferPointer {
          state.request.policy.feed(StepRecord(ids: ids, values: $0), embeddings: model.embeddingTable, into: x)
        }
      }
    case .replayed(let segment, let step):
      state.replayed[segment].withRecord(step) {
        state.request.policy.feed($0, embeddings: model.embeddingTable, into: x)
      }
    }
    state.position += 1
  }

  /// Feeds the pending inputs of some samples and leaves their last hidden states in `hidden_TC`, by sample.
  private func decode(_ range: Range<Int>, rows: Int, width: Int) {
    var row = 0
    let counts = active[range].map(\.waitingInputs.count)
    for index in range {
      let state = active[index]
      for _ in state.waitingInputs {
        feed(state.takeInput(), of: state, row: row, width: width)
        row += 1
      }
    }
    stages?.mark(.embed)
    // Forced tokens may follow each other in one sequence.
    forward(rows: rows, isDecodeStep: counts.allSatisfy { $0 <= 1 }, stages: stages)
    row = 0
    for (index, count) in zip(range, counts) where count > 0 {
      row += count
      model.finalNorm(
        workspace.x_TC.base + (row - 1) * width, rows: 1, into: hidden_TC.operand.advanced(by: index * width),
        team: team)
    }
    stages?.mark(.norm)
  }

  private func place(_ row: Int, position: Int, table: UnsafePointer<Int32>) {
    locations.base[row] = RowLocation(position: Int32(position), pages: table)
    writes.base[row] = CacheWrite(
      row: row, page: table[position / PageGeometry.blockLength], slot: position % PageGeometry.blockLength)
  }

  private func forward(rows: Int, isDecodeStep: Bool = false, stages: StageClock?) {
    model.forward(
      workspace, rows: UnsafeBufferPointer(start: locations.base, count: rows),
      writes: UnsafeBufferPointer(start: writes.base, count: rows), pages: pages, tape: nil,
      isDecodeStep: isDecodeStep, team: team, stages: stages)
  }

  /// The root mean square of the embeddings, computed once per model and only where a sample feeds vectors.
  private func embeddingScale() -> Float {
    if let knownEmbeddingScale { return knownEmbeddingScale }
    guard active.contains(where: { $0.request.policy.vectorSteps != nil }) else { return .nan }
    let scale = model.embeddingTable.rootMeanSquare()
    knownEmbeddingScale = scale
    return scale
  }

  /// Draws every active sample's next step from its hidden state, a bounded number of full rows at a time.
  private func drawAll(width: Int) {
    let v = model.configuration.vocabularySize
    let chunk = logits_TV.count / v
    let embeddingScale = embeddingScale()
    for start in stride(from: 0, to: active.count, by: chunk) {
      let count = min(chunk, active.count - start)
      let hidden = hidden_TC.operand.advanced(by: start * width)
      model.logits(hidden, rows: count, into: logits_TV.base, team: team)
      stages?.mark(.head)
      let (logits, model) = (logits_TV.base, model)
      nonisolated(unsafe) let states = active
      team.run(count) { task, _ in
        let state = states[start + task]
        do {
          try state.advance(
            row: UnsafeBufferPointer(start: logits + task * v, count: v), hidden: hidden.advanced(by: task * width),
            model: model, embeddingScale: embeddingScale)
        } catch { state.failure = "\(error)" }
      }
      stages?.mark(.draw)
      statistics.sampledTokens += count
    }
    if let observer {
      for state in active { state.describeLastStep(to: observer) }
    }
  }
}
