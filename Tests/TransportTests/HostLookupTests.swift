import Dispatch
import Glibc
import Synchronization
import Testing

@testable import Transport

@Suite struct HostLookupTests {
  /// What came of a lookup once its thread has come back.
  private func answer(_ lookup: HostLookup, _ endpoint: Endpoint) throws -> HostLookup.Answer {
    for _ in 0..<2000 {
      let answer = try lookup.ask(endpoint)
      if answer != .pending { return answer }
      usleep(5000)
    }
    return .pending
  }

  @Test(arguments: [
    "tcp://10.1.2.3:5555", "tcp://[::1]:5555", "tcp://[fe80::1%eth0]:5555", "inproc://name", "ipc:///tmp/socket",
  ])
  func numbersAreTheirOwnAnswer(text: String) throws {
    let lookup = HostLookup { _ in throw TransportError("asked") }
    #expect(try lookup.ask(Endpoint(text)) == .found([Endpoint(text)]))
  }

  @Test func anAnswerIsGivenOnceAndThenAskedForAgain() throws {
    let asked = Mutex(0)
    let lookup = HostLookup { host in
      let count = asked.withLock { count in
        count += 1
        return count
      }
      if count == 2 { throw TransportError("no such \(host)") }
      return count == 1 ? ["10.0.0.1", "::1"] : []
    }
    let endpoint = try Endpoint("tcp://learner:5555")
    #expect(
      try answer(lookup, endpoint) == .found([Endpoint("tcp://10.0.0.1:5555"), Endpoint("tcp://[::1]:5555")]))
    #expect(try answer(lookup, endpoint) == .failed("no such learner"))
    #expect(try answer(lookup, endpoint) == .failed("it has no address"))
    #expect(asked.withLock { $0 } == 3)
  }

  @Test func aNameThatIsNotAnsweredHoldsUpNoOther() throws {
    let held = DispatchSemaphore(value: 0)
    let asked = Mutex(0)
    let lookup = HostLookup { host in
      if host == "silent" {
        asked.withLock { $0 += 1 }
        held.wait()
      }
      return ["10.0.0.1"]
    }
    let silent = try Endpoint("tcp://silent:1")
    #expect(try lookup.ask(silent) == .pending)
    #expect(try answer(lookup, Endpoint("tcp://learner:5555")) == .found([Endpoint("tcp://10.0.0.1:5555")]))
    // Asked for again, it is still the same lookup.
    #expect(try lookup.ask(silent) == .pending)
    held.signal()
    #expect(try answer(lookup, silent) == .found([Endpoint("tcp://10.0.0.1:1")]))
    #expect(asked.withLock { $0 } == 1)
  }

  @Test func theSystemKnowsItself() throws {
    #expect(try HostLookup.system("127.0.0.1") == ["127.0.0.1"])
    #expect(throws: TransportError.self) { try HostLookup.system("") }
  }
}
