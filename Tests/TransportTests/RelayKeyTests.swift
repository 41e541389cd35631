import Foundation
import Testing

@testable import Transport

@Suite struct RelayKeyTests {
  private let folder: TemporaryFolder
  private let directory: KeyDirectory

  init() throws {
    folder = try TemporaryFolder()
    directory = KeyDirectory("\(folder.path)/keys")
  }

  private func own(_ loaded: LoadedSecurity) throws -> (key: PublicKey, server: PublicKey) {
    guard case .client(let keys, let server) = loaded.security else { throw TransportError("no client") }
    return (keys.publicKey, server)
  }

  private func list(_ loaded: LoadedSecurity) throws -> (key: PublicKey, allowed: AllowList) {
    guard case .server(let keys, let allowed) = loaded.security else { throw TransportError("no server") }
    return (keys.publicKey, allowed)
  }

  /// One command: the relay has its place above, its own key below, and lets in its workers and nobody else.
  @Test func aRelayHasBothHalves() throws {
    let changes = try directory.extend(
      workers: ["one"], relays: [.init(name: "rack", children: ["two", "three"])])
    #expect(changes.madeWorkers == ["one", "two", "three"] && changes.madeRelays == ["rack"])
    #expect(changes.relayCount == 1 && changes.workerCount == 4)
    let learner = try list(directory.serverSecurity())
    // From the whole folder and from what alone is brought to the relay's machine.
    for place in [directory, KeyDirectory("\(directory.path)/relays/rack")] {
      for name in ["rack", nil] {
        let (upstream, downstream) = try place.relaySecurity(name: name)
        let above = try own(upstream)
        #expect(above.server == learner.key && learner.allowed.judge(above.key) == .allowed(name: "rack"))
        let below = try list(downstream)
        #expect(below.key != learner.key && below.allowed.count == 2)
        #expect(below.allowed.judge(try own(directory.clientSecurity(name: "two")).key) == .allowed(name: "two"))
        #expect(below.allowed.judge(try own(directory.clientSecurity(name: "one")).key) == .unknown)
        #expect(try directory.serverKey("rack") == below.key && directory.serverKey("server") == learner.key)
        #expect(try directory.serverKey(below.key.text) == below.key)
      }
    }
    // Its workers may go to the learner, and have its public key beside the learner's.
    #expect(learner.allowed.judge(try own(directory.clientSecurity(name: "two")).key) == .allowed(name: "two"))
    var status = stat()
    for file in ["upstream/rack.key", "downstream/server.key"] {
      #expect(stat("\(directory.path)/relays/rack/\(file)", &status) == 0 && status.st_mode & 0o777 == 0o600)
    }
    // A worker started without a name takes a worker's key, never a relay's.
    #expect(try directory.clientSecurity(name: nil).name != "rack")
    #expect(throws: TransportError.self) { try directory.serverKey("nobody") }
  }

  @Test func nothingThatExistsIsChanged() throws {
    let first: [KeyDirectory.Relay] = [.init(name: "rack", children: ["two"])]
    _ = try directory.extend(workers: [], relays: first)
    let before = try (directory.relaySecurity(name: "rack"), directory.serverKey("rack"))
    let again = try directory.extend(workers: [], relays: first)
    #expect(again.madeRelays.isEmpty && again.madeWorkers.isEmpty && again.workerCount == 2)
    let more = try directory.extend(workers: [], relays: [.init(name: "rack", children: ["two", "four"])])
    #expect(more.madeRelays.isEmpty && more.madeWorkers == ["four"])
    let after = try directory.relaySecurity(name: "rack")
    #expect(try own(before.0.upstream).key == own(after.upstream).key)
    #expect(try directory.serverKey("rack") == before.1 && list(after.downstream).allowed.count == 2)
  }

  /// The learner's list decides: who was taken off it does not come back through a relay's.
  @Test func whoIsOffTheLearnersListStaysOff() throws {
    let relays: [KeyDirectory.Relay] = [.init(name: "rack", children: ["good", "bad"])]
    _ = try directory.extend(workers: [], relays: relays)
    for file in ["learner/authorized_workers", "relays/rack/downstream/authorized_workers"] {
      let path = "\(directory.path)/\(file)"
      let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").filter {
        !$0.hasSuffix(" bad")
      }
      try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
    _ = try directory.extend(workers: [], relays: relays)
    #expect(try list(directory.relaySecurity(name: nil).downstream).allowed.count == 1)
    // One that only changes its relay is let in by the new one.
    _ = try directory.extend(
      workers: [], relays: [.init(name: "rack", children: []), .init(name: "hall", children: ["good"])])
    #expect(try list(directory.relaySecurity(name: "hall").downstream).allowed.count == 1)
    #expect(throws: TransportError.self) { try directory.relaySecurity(name: nil) }
  }

  @Test func aRelayBehindARelay() throws {
    _ = try directory.extend(
      workers: [],
      relays: [.init(name: "rack", children: ["one"]), .init(name: "row", children: ["rack"])])
    let rack = try directory.relaySecurity(name: "rack")
    let row = try list(directory.relaySecurity(name: "row").downstream)
    #expect(row.allowed.judge(try own(rack.upstream).key) == .allowed(name: "rack"))
    #expect(try KeyDirectory("\(directory.path)/relays/rack").serverKey("row", isRelay: true, name: "rack") == row.key)
    #expect(try directory.serverKey("row", isRelay: true, name: "rack") == row.key)
  }

  @Test func namesThatMeanTwoThingsAreRefused() throws {
    _ = try directory.extend(workers: ["box"], relays: [.init(name: "rack", children: [])])
    for (workers, relays) in [
      (["rack"], []),
      ([], [KeyDirectory.Relay(name: "box", children: [])]),
      (["x"], [.init(name: "x", children: [])]),
      ([], [.init(name: "a", children: ["b"]), .init(name: "b", children: ["a"])]),
      ([], [.init(name: "a", children: ["a"])]),
      ([], [.init(name: "a", children: []), .init(name: "a", children: [])]),
      ([], [.init(name: "a", children: ["rack"])]),
      ([], [.init(name: "../a", children: [])]),
      ([], [.init(name: "a", children: ["../b"])]),
      ([], [.init(name: "server", children: [])]),
    ] as [([String], [KeyDirectory.Relay])] {
      #expect(throws: TransportError.self, "\(workers) \(relays)") {
        try directory.extend(workers: workers, relays: relays)
      }
    }
    let none = #expect(throws: TransportError.self) {
      try KeyDirectory("\(directory.path)/workers").relaySecurity(name: "rack")
    }
    #expect(none?.message.contains("--relay NAME=WORKER") == true)
  }
}
