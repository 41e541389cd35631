import Foundation
import Kernels
import ModelFiles
import Objectives
import Optimization
import Testing
import TestSupport
import Training
import Transformer
import WeightSync
import Wire

@testable import FrontEnd
@testable import Loading
@testable import Sessions

/// What a learner under LoRA publishes, and what workers make of it.
@Suite(.serialized) struct AdapterVersionTests {
  private let team = ThreadTeam(threadCount: 2)

  /// A model of more than one leaf and its adapters after some steps.
  private func trained(steps: Int = 1, hidden: Int = 64, seed: UInt64 = 1) throws -> AdapterState {
    let layout = ParameterLayout(
      ModelConfiguration(
        architecture: .llama, hiddenSize: hidden, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
        headDimension: hidden / 4, intermediateSize: 3 * hidden, vocabularySize: 9000, contextLength: 64,
        tiedEmbeddings: true))
    let base = ModelWeights(layout: layout)
    for (index, value) in randomWeights(layout: layout, seed: seed).enumerated() {
      base.elements[index] = BFloat16(value)
    }
    let state = AdapterState(base: base, options: AdapterOptions(rank: 4, alpha: 3), seed: 5)
    for step in 0..<steps { try advance(state, step) }
    return state
  }

  private func advance(_ state: AdapterState, _ step: Int) throws {
    for index in 0..<state.adapterLayout.count { state.gradient.base[index] = Float((index + step) % 7) - 3 }
    _ = try state.apply(UpdateOptions(optimizer: AdamW(learningRate: 1e-2)), team: team)
  }

  private func version(
    _ number: Int, _ state: AdapterState, base: WeightSnapshot, parent: Digest = .zero
  ) throws -> WeightSnapshot {
    try WeightSnapshot(
      version: number, parent: parent, adapters: state.adapters, base: base,
      mergedRoot: state.roundedWeights(team: team).root(team: team))
  }

  @Test func aWorkerMergesToTheLearnersBits() throws {
    let state = try trained()
    let base = state.base.baseSnapshot(team: team)
    let snapshot = try version(3, state, base: base)
    #expect(snapshot.byteCount == state.adapterLayout.count * 2 && snapshot.byteCount < base.byteCount / 10)
    #expect(base.version == -1 && base.description == snapshot.description.adapter?.base)
    for threads in [1, 3] {
      let other = ThreadTeam(threadCount: threads)
      let adapters = try AdapterWeights(snapshot, model: state.layout)
      let merged = base.withWeights { adapters.merged(into: $0, team: other) }
      #expect(merged.root(team: other) == snapshot.description.adapter?.mergedRoot)
    }
    let copy = try WeightSnapshot(version: 3, byteCount: base.byteCount) { bytes in
      base.withBytes { bytes.copyMemory(from: $0) }
    }
    #expect(copy.description.root == base.description.root && copy.leaves == base.leaves)
  }

  @Test func theIdentityDependsOnHowAdaptersAreMerged() throws {
    let state = try trained()
    let base = state.base.baseSnapshot(team: team)
    let good = try version(1, state, base: base).description
    let adapter = try #require(good.adapter)
    func identity(
      rank: Int = 4, scale: Float = 0.75, targets: [String]? = nil, mergedRoot: Digest? = nil, baseRoot: Digest? = nil
    ) -> Digest {
      VersionDescription(
        version: 1, parent: .zero, root: good.root, byteCount: good.byteCount,
        adapter: AdapterDescription(
          baseRoot: baseRoot ?? adapter.baseRoot, baseByteCount: adapter.baseByteCount, rank: rank, scale: scale,
          targets: targets ?? adapter.targets, mergedRoot: mergedRoot ?? adapter.mergedRoot)
      ).identity
    }
    #expect(identity() == good.identity)
    let others = [
      identity(rank: 8), identity(scale: 0.5), identity(targets: ["q_proj"]), identity(mergedRoot: good.root),
      identity(baseRoot: good.root),
      VersionDescription(version: 1, parent: .zero, root: good.root, byteCount: good.byteCount).identity,
    ]
    #expect(Set(others + [good.identity]).count == 7)
  }

  @Test func unusableDescriptionsAreRefused() throws {
    let state = try trained()
    let base = state.base.baseSnapshot(team: team)
    func snapshot(rank: Int = 4, targets: [String]) throws -> WeightSnapshot {
      try WeightSnapshot(
        version: 1, byteCount: state.adapterLayout.count * 2,
        adapter: AdapterDescription(
          baseRoot: base.description.root, baseByteCount: base.byteCount, rank: rank, scale: 1, targets: targets,
          mergedRoot: .zero)
      ) { _ = $0.initializeMemory(as: UInt8.self, repeating: 0) }
    }
    let all = AdapterTarget.allCases.map(\.rawValue)
    _ = try AdapterWeights(snapshot(targets: all), model: state.layout)
    for (bad, expected) in [
      (try snapshot(targets: ["lm_head"]), "lm_head"), (try snapshot(rank: 5, targets: all), "bytes"),
      (try snapshot(targets: ["q_proj"]), "bytes"), (base, "whole model"),
    ] {
      let error = #expect(throws: LoadingError.self) { try AdapterWeights(bad, model: state.layout) }
      #expect(error?.message.contains(expected) == true)
    }
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    #expect(throws: WeightSyncError.self) { try frontEnd.publish(version(0, state, base: base)) }
  }

  /// The base travels once to each worker, a late one included; from then on only adapters do.
  @Test func workersPullTheBaseOnceAndThenAdapters() throws {
    let state = try trained()
    let base = state.base.baseSnapshot(team: team)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let early = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "early"))
    var parent = Digest.zero
    var adapterBytes = 0
    for number in 0..<3 {
      try advance(state, number)
      let snapshot = try version(number, state, base: base, parent: parent)
      parent = snapshot.description.identity
      adapterBytes = snapshot.byteCount
      try frontEnd.publish(snapshot, base: base)
      #expect(eventually { early.log.withLock { $0.versions.last == number } })
    }
    let name = "base \(base.description.root)"
    #expect(early.log.withLock { $0.weightEvents } == [name, "version 0", "version 1", "version 2"])
    #expect(frontEnd.statistics().counters.weightBytesSent == base.byteCount + 3 * adapterBytes)
    let late = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "late"))
    #expect(eventually { late.log.withLock { $0.versions == [2] } })
    #expect(late.log.withLock { $0.weightEvents } == [name, "version 2"])
    #expect(frontEnd.statistics().counters.weightBytesSent == 2 * base.byteCount + 4 * adapterBytes)
    try frontEnd.submit(promptGroups(0..<2))
    let groups = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    #expect(groups.flatMap(\.samples).allSatisfy { $0.trajectory.policyVersion == 2 })
  }

  /// A learner that comes back with the same base does not send it again, but the engine hears of it.
  @Test func theBaseInHandOutlivesTheLearner() throws {
    let state = try trained()
    let base = state.base.baseSnapshot(team: team)
    var options = frontEndOptions()
    let first = try LearnerFrontEnd(options, logger: quiet)
    options.controlEndpoint = first.controlEndpoint
    let worker = try FakeWorker(workerOptions(first.controlEndpoint))
    let zero = try version(0, state, base: base)
    try first.publish(zero, base: base)
    #expect(eventually { worker.log.withLock { $0.versions == [0] } })
    first.abort()
    let second = try LearnerFrontEnd(options, logger: quiet)
    defer { second.shutdown(reason: "end", within: .seconds(5)) }
    try advance(state, 1)
    let one = try version(1, state, base: base, parent: zero.description.identity)
    try second.publish(one, base: base)
    #expect(eventually { worker.log.withLock { $0.versions.last == 1 } })
    let name = "base \(base.description.root)"
    #expect(worker.log.withLock { $0.weightEvents.count { $0 == name } } == 2)
    #expect(second.statistics().counters.weightBytesSent == one.byteCount)
  }
}
