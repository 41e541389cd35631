import Kernels
import SoftThinking
import Transformer

public struct SamplingError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

public struct SamplingOptions: Sendable, Equatable {
  public var maxThinkingTokens: Int
  public var endOfThinkingTokens: [Int32]
  public var forcedEndToken: Int32?
  public var answerPrefix: [Int32]
  public var stopTokens: [Int32]
  public var maxAnswerTokens: Int
  public var answer: DiscreteSampling
  public init(
    maxThinkingTokens: Int, endOfThinkingTokens: [Int32] = [], forcedEndToken: Int32? = nil, answerPrefix: [Int32] = [],
    stopTokens: [Int32] = [], maxAnswerTokens: Int, answer: DiscreteSampling = DiscreteSampling()
  ) {
    self.maxThinkingTokens = maxThinkingTokens
    self.endOfThinkingTokens = endOfThinkingTokens
    self.forcedEndToken = forcedEndToken
    self.answerPrefix = answerPrefix
    self.stopTokens = stopTokens
    self.maxAnswerTokens = maxAnswerTokens
    self.answer = answer
  }
}

public struct SamplingRequest: Sendable {
  public var id: UInt64
  public var promptID: String
  public var groupOrdinal: UInt64
  public var prompt: [Int32]
  public var sampleIndices: [Int]
  public var policy: ThinkingPolicy
  public var options: SamplingOptions
  public var noise: NoiseKey
  public var policyVersion: Int
  public init(
    id: UInt64, promptID: String, groupOrdinal: UInt64, prompt: [Int32], sampleIndices: [Int], policy: ThinkingPolicy,
    options: SamplingOptions, noise: NoiseKey, policyVersion: Int
  ) {
    self.id = id
    self.promptID = promptID
    self.groupOrdinal = groupOrdinal
    self.prompt = prompt
    self.sampleIndices = sampleIndices
    self.policy = policy
    self.options = options
    self.noise = noise
    self.policyVersion = policyVersion
  }
}

public struct SampledTrajectory: Sendable {
  public var requestID: UInt64
  public var trajectory: Trajectory
}

public struct SamplingStatistics: Sendable {
  public var sampledTokens = 0
  public var prefilledTokens = 0
  public var steps = 0
}

public final class SamplingEngine {
  public private(set) var model: PreparedModel
  public private(set) var statistics = SamplingStatistics()
  let slots: Int, maximumPositions: Int
  let team: ThreadTeam
  let workspace: ForwardWorkspace
  let pages: KeyValuePages
  let pagesPerSequence: Int
  var freePages: [Int32]
  var active: [Slot] = []
  var waiting: [(request: SamplingRequest, sample: Int)] = []
  var freeTables: [Int] = []
  let tables: AlignedBuffer<Int32>
  let hidden: OperandBuffer
  let logits: AlignedBuffer<Float>
  var cached: (id: UInt64, table: Int, pages: [Int32])?

  final class Slot {
    let request: SamplingRequest
    let sample: Int
    let table: Int
    var ownPages: [Int32] = []
    var position = 0  // cached positions
    var step = 0  // position after the prompt
    var feed: [Feed] = []
    enum Feed { case token(Int32), mixture }
    var soft = SoftSegment()
    var thinking = DiscreteSegment()
    var segments: [Segment] = []
    var answer = DiscreteSegment()
    var isThinking = true
    var current: SoftStep
    var done: FinishReason?
    var error: String?
    init(_ request: SamplingRequest, _ sample: Int, table: Int) {
      self.request = request
      self.sample = sample
      self.table = table
      current = SoftStep(topK: request.policy.topK)
    }
  }

  public init(model: PreparedModel, slots: Int, maximumPositions: Int, team: ThreadTeam) throws {
    self.model = model
    self.slots = slots
    self.maximumPositions = maximumPositions
    self.team = team
    pagesPerSequence = PageGeometry.pageCount(positions: maximumPositions)
    let total = (slots + 1) * pagesPerSequence
    pages = KeyValuePages(
      geometry: model.geometry, layers: model.configuration.layerCount, pages: total, computeType: model.computeType)
    freePages = (0..<Int32(total)).reversed()
    tables = AlignedBuffer(count: (slots + 1) * pagesPerSequence)
    freeTables = Array(0...slots)
    workspace = ForwardWorkspace(
      model.configuration, maximumRows: max(512, slots * 8), computeType: model.computeType)
    hidden = OperandBuffer(count: slots * model.configuration.hiddenSize, computeType: model.computeType)
    logits = AlignedBuffer(count: min(slots, 64) * model.configuration.vocabularySize)
  }
  public var isIdle: Bool { active.isEmpty && waiting.isEmpty }
  public var activeSlots: Int { active.count }
  public var waitingSamples: Int { waiting.count }
  public func replaceModel(_ model: PreparedModel) throws {
    guard isIdle else { throw SamplingError("the model was replaced while samples were running") }
    dropCache()
    self.model = model
  }
  public func cancel(_ id: UInt64) {
    waiting.removeAll { $0.request.id == id }
    for slot in active where slot.request.id == id { release(slot) }
    active.removeAll { $0.request.id == id }
  }
  public func submit(_ request: SamplingRequest) throws {
    for sample in request.sampleIndices { waiting.append((request, sample)) }
  }
  func table(_ index: Int) -> UnsafeMutablePointer<Int32> { tables.base + index * pagesPerSequence }
  func release(_ slot: Slot) {
    freePages += slot.ownPages
    freeTables.append(slot.table)
  }
  var references: [UInt64: Int] = [:]
  func dropCache() {
    if let cached {
      freePages += cached.pages
      freeTables.append(cached.table)
    }
    cached = nil
  }
  public func step() throws -> [SampledTrajectory] {
    var budget = workspace.maximumRows - active.reduce(0) { $0 + $1.feed.count }
    while active.count < slots, let next = waiting.first, budget >= next.request.prompt.count {
      budget -= next.request.prompt.count
      let (request, sample) = waiting.removeFirst()
      try admit(request, sample)
    }
    var rows: [(Slot, Slot.Feed)] = []
    var last: [(Slot, Int)] = []
    for slot in active where !slot.feed.isEmpty {
      for feed in slot.feed { rows.append((slot, feed)) }
      last.append((slot, rows.count - 1))
    }
    let width = model.configuration.hiddenSize
    if !rows.isEmpty {
      let locations = AlignedBuffer<RowLocation>(count: rows.count)
      let writes = AlignedBuffer<CacheWrite>(count: rows.count)
      for (row, (slot, feed)) in rows.enumerated() {
        let p = slot.position
        let t = table(slot.table)
        if p % 64 == 0 {
          t[p / 64] = freePages.removeLast()
          slot.ownPages.append(t[p / 64])
        }
        locations.base[row] = RowLocation(position: Int32(p), pages: UnsafePointer(t))
        writes.base[row] = CacheWrite(row: row, page: t[p / 64], slot: p % 64)
        slot.position += 1
        let x = workspace.x_TC.base + row * width
        switch feed {
        case .token(let token): model.embed(token: token, into: x)
        case .mixture:
          slot.current.tokenIDs.withUnsafeBufferPointer { ids in
            slot.current.weights.withUnsafeBufferPointer {
              OutputHead.mixture(
                ids: UnsafeBufferPointer(rebasing: ids.prefix($0.count)), weights: $0, embeddings: model.embeddings,
                width: width, into: x)
            }
          }
        }
      }
      model.forward(
        workspace, rows: UnsafeBufferPointer(locations.elements), writes: UnsafeBufferPointer(writes.elements),
        pages: pages, tape: nil, team: team)
      for (index, (slot, row)) in last.enumerated() {
        slot.feed = []
        model.finalNorm(
          workspace.x_TC.base + row * width, rows: 1, into: hidden.operand.advanced(by: index * width), team: team)
      }
      try sample(last.map(\.0))
    }
    statistics.steps += 1
    var out: [SampledTrajectory] = []
    for slot in active {
      guard let reason = slot.done else { continue }
      if let error = slot.error { throw SamplingError(error) }
      out.append(
        SampledTrajectory(
          requestID: slot.request.id,
          trajectory: Trajectory(
            promptID: slot.request.promptID, groupID: Int(slot.request.groupOrdinal), sampleIndex: slot.sample,
            policy: slot.request.policy, policyVersion: slot.request.policyVersion, prompt: slot.request.prompt,
            segments: slot.segments, finishReason: reason)))
      release(slot)
    }
    active.removeAll { $0.done != nil }
    return out
  }
  func sample(_ slots: [Slot]) throws {
    let (v, width) = (model.configuration.vocabularySize, model.configuration.hiddenSize)
    let chunk = logits.count / v
    for start in stride(from: 0, to: slots.count, by: chunk) {
      let count = min(chunk, slots.count - start)
      model.logits(hidden.operand.advanced(by: start * width), rows: count, into: logits.base, team: team)
      let (base, hidden, model) = (logits.base, hidden.operand, model)
      nonisolated(unsafe) let list = slots
      team.run(count) { task, _ in
        let slot = list[start + task]
        do {
          try Self.advance(
            slot, row: UnsafeBufferPointer(start: base + task * v, count: v),
            hidden: hidden.advanced(by: (start + task) * width), model: model)
        } catch {
          slot.error = "\(error)"
          slot.done = .length
        }
      }
      statistics.sampledTokens += count
    }
  }
  static func advance(_ slot: Slot, row: UnsafeBufferPointer<Float>, hidden: Operand, model: PreparedModel) throws {
    let request = slot.request
    let options = request.options
    let noise = request.noise.step(
      group: request.groupOrdinal, sample: UInt32(slot.sample), step: UInt32(slot.step))
    slot.step += 1
    if slot.isThinking {
      let policy = request.policy
      if policy.kind == .discrete {
        let token = try sampleDiscreteToken(row: row, sampling: DiscreteSampling(policy), noise: noise)
        slot.thinking.tokenIDs.append(token)
        slot.thinking.logProbs.append(try discreteLogProb(row: row, tokenID: token, temperature: policy.temperature))
        if options.endOfThinkingTokens.contains(token) { return endThinking(slot, last: [.token(token)], forced: false) }
        if slot.thinking.tokenIDs.count >= options.maxThinkingTokens {
          return endThinking(slot, last: [.token(token)], forced: true)
        }
        slot.feed = [.token(token)]
        return
      }
      let k = min(policy.topK, row.count)
      try withUnsafeTemporaryAllocation(of: Int32.self, capacity: k) { ids in
        try withUnsafeTemporaryAllocation(of: Float.self, capacity: k) { values in
          guard topK(row, k: k, indices: ids, values: values) != nil else { throw SamplingError("NaN logits") }
          OutputHead.sparseLogits(
            hidden: hidden, head: model.headRows, width: model.configuration.hiddenSize, ids: UnsafeBufferPointer(ids),
            into: values.baseAddress!)
          try sampleSoftStep(
            tokenIDs: UnsafeBufferPointer(ids), logits: UnsafeBufferPointer(values), policy: policy, noise: noise,
            into: &slot.current)
        }
      }
      let emitted = slot.current.tokenIDs[0]
      if options.endOfThinkingTokens.contains(emitted) {
        slot.thinking.tokenIDs = [emitted]
        slot.thinking.logProbs = [try discreteLogProb(row: row, tokenID: emitted, temperature: policy.temperature)]
        return endThinking(slot, last: [.token(emitted)], forced: false)
      }
      slot.soft.tokenIDs.append(slot.current.tokenIDs)
      slot.soft.values.append(slot.current.values)
      slot.soft.logProbs.append(slot.current.logProb)
      if slot.soft.count >= options.maxThinkingTokens { return endThinking(slot, last: [.mixture], forced: true) }
      slot.feed = [.mixture]
      return
    }
    let token = try sampleDiscreteToken(row: row, sampling: options.answer, noise: noise)
    slot.answer.tokenIDs.append(token)
    slot.answer.logProbs.append(
      try discreteLogProb(row: row, tokenID: token, temperature: options.answer.scoringTemperature))
    slot.answer.temperature = options.answer.scoringTemperature
    if options.stopTokens.contains(token) {
      slot.done = .stop
    } else if slot.answer.tokenIDs.count >= options.maxAnswerTokens {
      slot.done = .length
    }
    if slot.done != nil { slot.segments.append(.discrete(slot.answer)) } else { slot.feed = [.token(token)] }
  }
  static func endThinking(_ slot: Slot, last: [Slot.Feed], forced: Bool) {
    slot.isThinking = false
    let options = slot.request.options
    if slot.soft.count > 0 { slot.segments.append(.soft(slot.soft)) }
    if !slot.thinking.tokenIDs.isEmpty { slot.segments.append(.discrete(slot.thinking)) }
    var injected: [Int32] = []
    if forced, let end = options.forcedEndToken { injected.append(end) }
    injected += options.answerPrefix
    if !injected.isEmpty { slot.segments.append(.forced(injected)) }
    slot.step += injected.count
    slot.feed = last + injected.map { .token($0) }
  }
  func admit(_ request: SamplingRequest, _ sample: Int) throws {
    let slot = Slot(request, sample, table: freeTables.removeLast())
    slot.feed = request.prompt.map { .token($0) }
    active.append(slot)
  }
}
