import Testing
import Transport

@testable import WorkerLink

/// A worker without a session, with simulated time.
@Suite struct WaitingTests {
  private func waiting() -> Waiting {
    var options = WorkerLinkOptions(endpoint: "tcp://a:1", workerName: "w", threads: 1, fingerprint: "", capacity: 1)
    options.firstRetry = .seconds(1)
    options.longestRetry = .seconds(4)
    return Waiting(options, now: .zero)
  }

  @Test func itSaysThatItConnectsOnceAndThenHowLongItHasWaited() {
    var waiting = waiting()
    func notice(_ seconds: Int) -> Waiting.Notice? { waiting.notice(every: .seconds(10), .seconds(seconds)) }
    #expect(notice(1) == .first && notice(2) == nil && notice(10) == .again(10) && notice(19) == nil)
    #expect(notice(20) == .again(20))
    // A session that was lost begins the count anew.
    waiting.begins(.seconds(25), isLost: true, spread: 0)
    #expect(notice(30) == nil && notice(35) == .again(10))
  }

  @Test func hellosComeMoreAndMoreRarelyUntilSomebodyIsThere() {
    var waiting = waiting()
    var times: [Int] = []
    for second in 0...20 where waiting.owesHello(.seconds(second)) {
      // Half the spread: the nominal pause.
      waiting.saysHello(.seconds(second), spread: 0.5)
      times.append(second)
    }
    #expect(times == [0, 1, 3, 7, 11, 15, 19])
    // A connection that stands is greeted at once, if the last Hello reached nobody.
    waiting.saidHello(isHeard: true)
    waiting.heard(.ready, hasSession: false, .seconds(20))
    #expect(!waiting.owesHello(.seconds(20)))
    waiting.saidHello(isHeard: false)
    waiting.heard(.ready, hasSession: false, .seconds(20))
    #expect(waiting.owesHello(.seconds(20)))
    // After a welcome the pauses are short again.
    waiting.joined()
    waiting.begins(.seconds(30), isLost: true, spread: 0.5)
    #expect(!waiting.owesHello(.milliseconds(30_999)) && waiting.owesHello(.seconds(31)))
  }

  @Test func aComplaintIsRepeatedAsOftenAsANotice() {
    var waiting = waiting()
    func may(_ reason: String, _ seconds: Int) -> Bool {
      waiting.mayComplain(reason, every: .seconds(10), .seconds(seconds))
    }
    #expect(may("no key", 0) && !may("no key", 9) && may("no key", 10) && may("another", 11))
    waiting.joined()
    #expect(may("another", 12))
  }

  @Test func itSaysHowFarItsConnectionHasCome() throws {
    let endpoint = try Endpoint("tcp://a:1")
    var waiting = waiting()
    func missing(_ failure: String? = nil) -> String { waiting.whatIsMissing(at: endpoint, failure: failure) }
    func hear(_ event: ConnectionEvent) { waiting.heard(event, hasSession: false, .zero) }
    #expect(missing().contains("no connection yet") && missing("no such host").contains("the name a is not found"))
    hear(.connected)
    #expect(missing().contains("no handshake"))
    hear(.disconnected)
    #expect(missing().contains("end in the handshake"))
    hear(.connected)
    #expect(missing().contains("end in the handshake"), "it connects again and again")
    hear(.ready)
    #expect(missing().contains("does not answer"))
    hear(.disconnected)
    #expect(missing().contains("no connection yet"))
  }
}

@Suite struct PlacesTests {
  private func places(_ count: Int) throws -> Places {
    Places(try (0..<count).map { (try Endpoint("tcp://place-\($0):1"), SocketSecurity.none) })
  }

  @Test func theyAreTriedInTurn() throws {
    var places = try places(3)
    let visited = (0..<4).map { _ in
      let isAnother = places.goToNext()
      return isAnother ? places.current : -1
    }
    #expect(visited == [1, 2, 0, 1] && places.endpoint.host == "place-1" && places.first.endpoint.host == "place-0")
    places.goToFirst()
    #expect(places.current == 0)
    var alone = try self.places(1)
    let isAnother = alone.goToNext()
    #expect(!isAnother)
  }

  @Test func aNameOfSeveralAddressesIsTriedAtEach() throws {
    var places = try places(2)
    let addresses = try ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"].map { try Endpoint($0) }
    #expect(places.choose(addresses, of: 0).host == "10.0.0.1")
    places.unanswered()
    #expect(places.choose(addresses, of: 0).host == "10.0.0.2" && places.choose(addresses, of: 1).host == "10.0.0.1")
    // A name that is not found is looked up again after a second, and said once.
    let isNew = places.notFound("no such host", .zero)
    let isNewAgain = places.notFound("no such host", .seconds(1))
    #expect(isNew && !isNewAgain && !places.mayLookUp(.milliseconds(1999)) && places.mayLookUp(.seconds(2)))
    places.connected(to: addresses[0])
    #expect(!places.mayLookUp(.seconds(9)) && places.failure == nil)
    places.opened()
    #expect(places.mayLookUp(.zero))
  }

  /// Only what has never been let in is suspected, and only after three handshakes in a row.
  @Test func keysAreDoubtedWhereNoHandshakeWasEverCompleted() throws {
    var places = try places(2)
    func breaks() -> Bool { places.brokeHandshake(isClosedByPeer: true) }
    var doubts = (0..<3).map { _ in breaks() }
    #expect(doubts == [false, false, true])
    places.completedHandshake()
    doubts = (0..<4).map { _ in breaks() }
    #expect(doubts == [false, false, false, false])
    _ = places.goToNext()
    doubts = (0..<3).map { _ in breaks() }
    #expect(doubts == [false, false, true], "at another place the count begins anew")
  }
}
