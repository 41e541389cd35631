import Kernels
import Machine
import Testing
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

/// The worker's log-probs and side streams are those of a teacher-forced, packed pass over the record, to the last bit (bf16).
@Suite struct ZeroMismatchTests {
  @Test(
    .enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"),
    arguments: Tiny.policies.filter(\.isTrainable))
  func recordedLogProbsAreThoseOfThePackedPass(_ policy: ThinkingPolicy) throws {
    try compare(policy, .bfloat16)
  }

  /// The int8 policy's log-probs do not depend on the batch either: integer sums are exact.
  @Test(
    .enabled(if: ProcessorFeatures.current.hasInt8Products, "the processor has no int8 products"),
    arguments: Tiny.policies.filter(\.isTrainable))
  func int8LogProbsAreThoseOfThePackedPass(_ policy: ThinkingPolicy) throws {
    try compare(policy, .int8)
  }

  private func compare(_ policy: ThinkingPolicy, _ type: RolloutDataType) throws {
    let team = ThreadTeam(threadCount: 2)
    let model = try Tiny.model(rollouts: type, team: team)
    let trajectories = try Tiny.sample(
      (0..<4).map { Tiny.request($0, promptLength: 30 + 20 * $0, samples: 6, policy: policy) }, model, slots: 7,
      team: team)
    var compared = 0
    for group in 0..<4 {
      let members = trajectories.filter { $0.groupID == group }
      let batch = PackedBatch()
      batch.appendRoot(count: members[0].prompt.count)
      let firstRows = members.map { batch.appendSuffix(count: $0.completionCount) }
      batch.finish()
      let (c, rows) = (model.configuration, batch.rowCount)
      let workspace = ForwardWorkspace(c, maximumRows: rows, computeType: .bfloat16)
      for (row, token) in members[0].prompt.enumerated() {
        model.embed(token: token, into: workspace.x_TC.base + row * c.hiddenSize)
      }
      for (member, first) in zip(members, firstRows) {
        embed(member, model, into: workspace.x_TC.base + first * c.hiddenSize)
      }
      let pages = KeyValuePages(geometry: model.geometry, layers: 1, pages: batch.pageCount, computeType: .bfloat16)
      model.forward(workspace, rows: batch.rows, writes: batch.cacheWrites, pages: pages, tape: nil, team: team)
      let hidden = OperandBuffer(count: rows * c.hiddenSize, computeType: .bfloat16)
      model.finalNorm(workspace.x_TC.base, rows: rows, into: hidden.operand, team: team)
      let logits = AlignedBuffer<Float>(count: rows * c.vocabularySize)
      model.logits(hidden.operand, rows: rows, into: logits.base, team: team)

      for (member, first) in zip(members, firstRows) {
        var position = 0
        for segment in member.segments {
          for step in 0..<segment.count {
            // The prompt's last row predicts the first step.
            let row = position == 0 ? member.prompt.count - 1 : first + position - 1
            let full = UnsafeBufferPointer(start: logits.base + row * c.vocabularySize, count: c.vocabularySize)
            position += 1
            if segment.isScored {
              var temperature = policy.scoringTemperature
              if case .discrete(let discrete) = segment { temperature = discrete.temperature ?? temperature }
              var measures = StepMeasures()
              _ = try DiscreteDistribution(measuring: full, temperature: temperature, into: &measures)
              #expect(segment.streams[.entropy]?[step].bitPattern == measures.entropy.bitPattern)
              #expect(segment.streams[.largestProbability]?[step].bitPattern == measures.largestProbability.bitPattern)
            }
            switch segment {
            case .forced, .replayed: continue
            case .discrete(let discrete):
              let score = try discreteLogProb(
                row: full, tokenID: discrete.tokenIDs[step],
                temperature: discrete.temperature ?? policy.scoringTemperature)
              guard let support = discrete.support else {
                #expect(score.bitPattern == discrete.logProbs[step].bitPattern)
                break
              }
              let ids = Array(support[step])
              let own = slots(
                TokenUnderSupport(temperature: discrete.temperature ?? policy.scoringTemperature), ids, [],
                hidden.operand.advanced(by: row * c.hiddenSize), model)
              #expect(own.map(\.bitPattern) == [discrete.logProbs[step].bitPattern])
            case .soft(let soft) where policy.vectorSteps != nil:
              let steps = try #require(policy.vectorSteps)
              let score = try soft.withRecord(step) { record in
                guard steps.candidateCount != nil else {
                  return try steps.score(record, row: full, embeddings: model.embeddingTable)
                }
                return slots(
                  VectorScore(steps, model.embeddingTable), Array(record.ids), Array(record.values),
                  hidden.operand.advanced(by: row * c.hiddenSize), model)[0]
              }
              #expect(score.bitPattern == soft.logProbs[step].bitPattern)
            case .soft(let soft):
              let steps = try #require(policy.softSteps)
              let recorded = soft.logProbs[step * steps.slotCount..<(step + 1) * steps.slotCount]
              let scores =
                steps.scoresFullVocabulary
                ? try soft.tokenIDs[step].prefix(steps.slotCount).map {
                  try discreteLogProb(row: full, tokenID: $0, temperature: policy.scoringTemperature)
                }
                : slots(
                  steps, Array(soft.tokenIDs[step]), Array(soft.values[step]),
                  hidden.operand.advanced(by: row * c.hiddenSize), model)
              #expect(scores.map(\.bitPattern) == recorded.map(\.bitPattern))
            }
            compared += 1
          }
        }
      }
    }
    #expect(compared > 150)
  }

  /// The log-probs of a record, from the logits of its ids.
  private func slots(
    _ score: any CandidateScore, _ ids: [Int32], _ values: [Float], _ hidden: Operand, _ model: PreparedModel
  ) -> [Float] {
    var logits = [Float](repeating: 0, count: ids.count)
    var slots = [Float](repeating: .nan, count: score.slotCount)
    ids.withUnsafeBufferPointer { ids in
      values.withUnsafeBufferPointer { values in
        logits.withUnsafeMutableBufferPointer { logits in
          OutputHead.sparseLogits(
            hidden: hidden, head: model.headRows, width: model.configuration.hiddenSize, ids: ids,
            into: logits.baseAddress!)
          slots.withUnsafeMutableBufferPointer {
            score.score(StepRecord(ids: ids, values: values), logits: UnsafeBufferPointer(logits), into: $0)
          }
        }
      }
    }
    return slots
  }

  private func embed(_ trajectory: Trajectory, _ model: PreparedModel, into x_TC: UnsafeMutablePointer<Float>) {
    let width = model.configuration.hiddenSize
    var row = 0
    for segment in trajectory.segments {
      for step in 0..<segment.count {
        let x = x_TC + row * width
        row += 1
        switch segment {
        case .forced(let ids), .replayed(.tokens(let ids)): model.embed(token: ids[step], into: x)
        case .discrete(let discrete): model.embed(token: discrete.tokenIDs[step], into: x)
        case .soft(let soft), .replayed(.soft(let soft)):
          soft.withRecord(step) { trajectory.policy.feed($0, embeddings: model.embeddingTable, into: x) }
        }
      }
    }
  }
}
