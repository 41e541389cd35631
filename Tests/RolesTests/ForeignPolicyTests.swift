import Logging
import Parameters
import Rollouts
import Testing
import TestSupport
import Thinking
import WeightSync
import Wire

@testable import FrontEnd
@testable import Worker
@testable import WorkerLink

@Suite(.serialized) struct ForeignPolicyTests {
  /// A worker of another build declines a lease whose policy it does not have and says what to upgrade; the work is there for
  /// others.
  @Test func leasesOfAnotherBuildAreGivenBack() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let relay = try FaultyRelay(frontEnd.controlEndpoint, changesPolicies: true)
    defer { relay.stop() }
    let old = try WorkerLink(workerOptions(relay.endpoint), logger: quiet)
    let (foreign, _) = try #require(try nextLease(old))
    let complaint = try #require(foreign.complaint)
    #expect(complaint.contains("gumbel") && complaint.contains("tilt") && complaint.contains("Run the learner's build"))
    #expect(throws: ParameterError.self) { try SamplingRequest(foreign, policyVersion: 0) }
    old.giveBack(ReturnedWork(leaseID: foreign.id, sampleIndices: foreign.sampleIndices, reason: complaint))
    #expect(old.close(reason: "another build", within: .seconds(5)))
    #expect(eventually { frontEnd.statistics().queuedSamples == 4 })

    let link = try WorkerLink(workerOptions(frontEnd.controlEndpoint), logger: quiet)
    defer { link.close(reason: "end", within: .seconds(5)) }
    let (lease, snapshot) = try #require(try nextLease(link))
    #expect(try ThinkingPolicy(lease.policy) == ThinkingPolicy() && lease.complaint == nil)
    for sample in lease.sampleIndices { try link.send(FakeWorker.result(lease, sample, snapshot)) }
    #expect(try frontEnd.collect(groupCount: 1, within: .seconds(20)).first?.samples.count == 4)
  }

  private func nextLease(_ link: WorkerLink) throws -> (Lease, WeightSnapshot)? {
    var snapshot: WeightSnapshot?
    while let event = try link.nextEvent(within: .seconds(20)) {
      if case .weights(let newest) = event { snapshot = newest }
      if case .lease(let lease) = event, let snapshot { return (lease, snapshot) }
    }
    return nil
  }
}
