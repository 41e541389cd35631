import Testing
import Thinking
import Transport
import Wire

@testable import Sessions

@Suite struct OutboxTests {
  private func chunk(_ index: Int) -> Message {
    .weightsChunk(WeightsChunk(version: 1, index: index, bytes: [UInt8](repeating: 1, count: 1000)))
  }

  /// A socket that takes `room` messages.
  private final class Pipe {
    var room: Int
    var taken: [Envelope] = []

    init(room: Int) { self.room = room }

    func send(_ frames: [[UInt8]]) throws -> Socket.SendOutcome {
      guard room > 0 else { return .full }
      room -= 1
      taken.append(try Envelope(decoding: frames))
      return .sent
    }
  }

  @Test func controlOvertakesBulkAndEachLaneKeepsItsOrder() throws {
    var outbox = Outbox()
    let pipe = Pipe(room: 1)
    for index in 0..<3 { outbox.put(chunk(index)) }
    #expect(try outbox.flush(session: 7, pipe.send) == .waiting)
    outbox.put(.heartbeat(Heartbeat()))
    outbox.put(.cancel(leaseIDs: [1], reason: "late"))
    #expect(outbox.count == 4)
    pipe.room = 10
    #expect(try outbox.flush(session: 7, pipe.send) == .empty)
    #expect(
      pipe.taken.map(\.message.name) == ["WeightsChunk", "Heartbeat", "Cancel", "WeightsChunk", "WeightsChunk"])
    #expect(pipe.taken.map(\.message).filter(\.isBulk) == (0..<3).map(chunk))
    #expect(pipe.taken.allSatisfy { $0.session == 7 } && outbox.isEmpty)
  }

  @Test func nothingIsLostHoweverLittleIsTakenAtATime() throws {
    var outbox = Outbox()
    let pipe = Pipe(room: 0)
    for index in 0..<5000 { outbox.put(.requestWork(credits: index + 1)) }
    while try outbox.flush(session: 1, pipe.send) == .waiting { pipe.room = 7 }
    #expect(pipe.taken.map(\.message) == (0..<5000).map { .requestWork(credits: $0 + 1) })
  }

  @Test func bulkIsMadeWhenItCanGo() throws {
    var outbox = Outbox()
    let pipe = Pipe(room: 1)
    var made = 0
    for index in 0..<4 {
      outbox.putBulk {
        made += 1
        return index == 1 ? nil : .pullManifest(version: index, isDelta: false)
      }
    }
    #expect(made == 0)
    #expect(try outbox.flush(session: 1, pipe.send) == .waiting)
    // The one that went, the one that is not wanted, the one that was refused.
    #expect(made == 3)
    pipe.room = 5
    #expect(try outbox.flush(session: 1, pipe.send) == .empty)
    #expect(made == 4 && pipe.taken.map(\.message) == [0, 2, 3].map { .pullManifest(version: $0, isDelta: false) })
  }

  @Test func aPeerThatIsGoneIsReportedAndOneThatNeverReadsIsOverfull() throws {
    var outbox = Outbox()
    outbox.put(.heartbeat(Heartbeat()))
    #expect(try outbox.flush(session: 1) { _ in .unreachable } == .unreachable)
    for _ in 0..<Outbox.itemLimit { outbox.put(.pullManifest(version: 1, isDelta: false)) }
    #expect(outbox.isOverfull)
  }
}
