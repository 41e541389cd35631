import CWireMessages
import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Wire

@Suite struct RoundTripTests {
  @Test(arguments: 0..<RandomMessages.kindCount)
  func everyMessageSurvives(kind: Int) throws {
    var messages = RandomMessages(seed: UInt64(kind))
    for _ in 0..<60 {
      let envelope = Envelope(session: messages.random.next(), messages.message(kind: kind))
      #expect(try Envelope(decoding: envelope.encoded()) == envelope)
    }
  }

  @Test func kindsAreAllDifferent() {
    var messages = RandomMessages(seed: 0)
    let names = Set((0..<RandomMessages.kindCount).map { messages.message(kind: $0).name })
    #expect(names.count == RandomMessages.kindCount)
  }

  @Test func floatsKeepTheirBits() throws {
    var soft = SoftSegment()
    soft.tokenIDs.append([7, 3])
    soft.values.append([Float(bitPattern: 0x0000_0001), -0.0])
    soft.logProbs = [Float(bitPattern: 0x8000_0001)]
    let result = TrajectoryResult(
      leaseID: 1, groupOrdinal: 0, sampleIndex: 0, policyVersion: 0, segments: [.soft(soft)], finishReason: .stop)
    let decoded = try Envelope(decoding: Envelope(.trajectoryResult(result)).encoded())
    guard case .trajectoryResult(let back) = decoded.message, case .soft(let segment) = back.segments[0] else {
      Issue.record("not a soft segment")
      return
    }
    #expect(segment.values.elements.map(\.bitPattern) == soft.values.elements.map(\.bitPattern))
    #expect(segment.logProbs.map(\.bitPattern) == soft.logProbs.map(\.bitPattern))
  }

  /// What a worker makes of a lease's policy is the learner's, whatever its parameters are.
  @Test func policiesTravelWhole() throws {
    var messages = RandomMessages(seed: 5)
    for policy in ThinkingPolicies.trainable {
      var lease = messages.lease()
      lease.policy = policy.description
      guard case .grant(let leases) = try Envelope(decoding: Envelope(.grant([lease])).encoded()).message else {
        Issue.record("no grant")
        return
      }
      #expect(try ThinkingPolicy(leases[0].policy) == policy)
    }
  }

  @Test func brokenValuesNeverLeave() throws {
    var messages = RandomMessages(seed: 3)
    var lease = messages.lease()
    lease.sampleIndices = [2, 1]
    #expect(throws: WireError.self) { try Envelope(.grant([lease])).encoded() }
    lease = messages.lease()
    lease.prompt = [-1]
    #expect(throws: WireError.self) { try Envelope(.grant([lease])).encoded() }
    lease = messages.lease()
    lease.policy.values["temperature"] = .number(.nan)
    #expect(throws: WireError.self) { try Envelope(.grant([lease])).encoded() }
    #expect(throws: WireError.self) { try Envelope(.refused(reason: "a\0b")).encoded() }
    #expect(throws: WireError.self) { try Envelope(.requestWork(credits: 0)).encoded() }
    lease = messages.lease()
    lease.prompt = [Int32](repeating: Int32.max, count: 300_000)
    #expect(throws: WireError.self) { try Envelope(.grant([lease])).encoded() }
    let result = TrajectoryResult(
      leaseID: 1, groupOrdinal: 0, sampleIndex: 0, policyVersion: 0,
      segments: [.discrete(DiscreteSegment(tokenIDs: [1], logProbs: [.infinity]))], finishReason: .stop)
    #expect(throws: WireError.self) { try Envelope(.trajectoryResult(result)).encoded() }
  }

  /// A worker asks `validate` alone before the thread of the socket makes the bytes: what passes must be fit to be sent.
  @Test func aResultThatIsValidCanBeSent() throws {
    var messages = RandomMessages(seed: 5)
    for _ in 0..<60 {
      let result = messages.result()
      try result.validate()
      _ = try Envelope(.trajectoryResult(result)).encoded()
    }
    let result = messages.result()
    func refused(_ edit: (inout TrajectoryResult) -> Void) {
      var broken = result
      edit(&broken)
      #expect(throws: WireError.self) { try broken.validate() }
    }
    refused { $0.groupOrdinal = -1 }
    refused { $0.sampleIndex = -1 }
    refused { $0.elapsedMicroseconds = -1 }
    refused { $0.versionSpans = [VersionSpan(start: 1, version: 0)] }
    refused { $0.origin = SampleOrigin(workerName: "a\0", fingerprint: "") }
    refused { $0.segments = [.forced([-1])] }
    refused { $0.segments = [.discrete(DiscreteSegment(tokenIDs: [1], logProbs: [.nan]))] }
    refused { $0.segments = [.discrete(DiscreteSegment(tokenIDs: [1], temperature: -1))] }
    refused { $0.segments = [Segment](repeating: .forced([1]), count: 5000) }
    // Rows of many lengths make the envelope large: refused a little before the envelope would be.
    for count in [300_000, 520_000, 530_000] {
      var soft = SoftSegment()
      for index in 0..<count {
        soft.tokenIDs.append(index == 0 ? [1, 2] : [1])
        soft.values.append(index == 0 ? [0, 0] : [0])
      }
      var large = result
      (large.segments, large.versionSpans) = ([.soft(soft)], [])
      let isValid = (try? large.validate()) != nil
      #expect(isValid == (count < 530_000) && isValid == ((try? Envelope(.trajectoryResult(large)).encoded()) != nil))
    }
  }
}
