import Logging
import SoftThinking
import TestSupport
import Testing
import WeightSync
import Wire

@testable import Cluster

@Suite(.serialized) struct ForeignPolicyTests {
  /// A worker of another build leaves with an error that says what to upgrade; the work is there for others.
  @Test func leasesOfAnotherBuildAreGivenBack() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let relay = try FaultyRelay(frontEnd.controlEndpoint, changesPolicies: true)
    defer { relay.stop() }
    let old = try WorkerLink(workerOptions(relay.endpoint), logger: quiet)
    let error = #expect(throws: ClusterError.self) {
      while let event = try old.nextEvent(within: .seconds(20)) {
        if case .lease = event { Issue.record("the lease reached the engine") }
      }
    }
    #expect(error?.message.contains("gumbel") == true && error?.message.contains("tilt") == true)
    #expect(error?.message.contains("upgrade softgrpo") == true, "\(error?.message ?? "")")
    #expect(eventually { frontEnd.statistics().queuedSamples == 4 })

    let link = try WorkerLink(workerOptions(frontEnd.controlEndpoint), logger: quiet)
    defer { link.close(reason: "end", within: .seconds(5)) }
    var snapshot: WeightSnapshot?
    while let event = try link.nextEvent(within: .seconds(20)) {
      if case .weights(let newest) = event { snapshot = newest }
      guard case .lease(let lease) = event, let snapshot else { continue }
      #expect(try ThinkingPolicy(lease.policy) == ThinkingPolicy() && lease.refusal == nil)
      for sample in lease.sampleIndices { try link.send(FakeWorker.result(lease, sample, snapshot)) }
      break
    }
    #expect(try frontEnd.collect(groupCount: 1, within: .seconds(20)).first?.samples.count == 4)
  }
}
