import Foundation
import Logging
import Machine
import RunConfiguration
import Synchronization
import Testing
import TestSupport
import Thinking
import Transport
import Wire

@testable import FrontEnd
@testable import Relay
@testable import Sessions
@testable import WorkerLink

/// Keeps what is logged.
struct RecordingLogHandler: LogHandler {
  let lines: Mailbox<String>
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.debug

  subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) { lines.put("\(event.message)") }
}

@Suite(.serialized) struct SecurityTests {
  private let folder = NSTemporaryDirectory() + "softgrpo-\(UUID().uuidString)"
  private let directory: KeyDirectory

  init() throws {
    directory = KeyDirectory(folder)
    _ = try directory.extend(workers: ["one", "two"])
  }

  private func secureOptions() throws -> LearnerFrontEndOptions {
    var options = frontEndOptions()
    options.security = try directory.serverSecurity().security
    return options
  }

  private func secureWorker(_ endpoint: String, _ name: String) throws -> WorkerLinkOptions {
    var options = workerOptions(endpoint, name: name)
    options.security = try directory.clientSecurity(name: name).security
    return options
  }

  private func logger(_ lines: Mailbox<String>) -> Logger {
    Logger(label: "recorded") { _ in RecordingLogHandler(lines: lines) }
  }

  @Test func aRunUnderCurve() throws {
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    let workers = try ["one", "two"].map { try FakeWorker(secureWorker(frontEnd.controlEndpoint, $0)) }
    try frontEnd.submit(promptGroups(0..<8))
    #expect(try frontEnd.collect(groupCount: 8, within: .seconds(30)).count == 8)
    try frontEnd.publish(weights(1, after: zero))
    try frontEnd.submit(promptGroups(8..<16))
    #expect(try frontEnd.collect(groupCount: 8, within: .seconds(30)).count == 8)
    #expect(frontEnd.statistics().refusedKeys == 0)
    _ = workers
  }

  @Test func aStrangerIsToldAndLetInOnceItIsListed() throws {
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    // A key of another cluster, with this learner's public key.
    let other = KeyDirectory(folder + "/other")
    _ = try other.extend(workers: ["stranger"])
    guard case .client(let keys, _) = try other.clientSecurity(name: "stranger").security,
      case .client(_, let serverKey) = try directory.clientSecurity(name: "one").security
    else {
      Issue.record("no keys")
      return
    }
    var options = workerOptions(frontEnd.controlEndpoint, name: "stranger")
    options.security = .client(keys: keys, serverKey: serverKey)
    options.handshakeTimeout = .milliseconds(100)
    let lines = Mailbox<String>()
    let worker = try FakeWorker(options, logger: logger(lines))
    var heard = ""
    #expect(
      eventually {
        heard += lines.takeAll().joined(separator: "\n")
        return heard.contains("refuses this worker's key \(keys.publicKey)")
      })
    #expect(heard.contains("\(keys.publicKey) stranger"))
    #expect(frontEnd.statistics().refusedKeys >= 1 && frontEnd.statistics().workers.isEmpty)
    // What the message asks for helps, without a restart.
    let path = folder + "/learner/authorized_workers"
    try (String(contentsOfFile: path, encoding: .utf8) + "\(keys.publicKey) stranger\n").write(
      toFile: path, atomically: true, encoding: .utf8)
    #expect(eventually { frontEnd.statistics().workers.map(\.name) == ["stranger"] })
    _ = worker
  }

  @Test func aWrongServerKeyAndMissingKeysAreExplained() throws {
    let learnerLines = Mailbox<String>()
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: logger(learnerLines))
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    guard case .client(let keys, _) = try directory.clientSecurity(name: "one").security else { return }
    for (security, expected) in [
      (SocketSecurity.client(keys: keys, serverKey: try KeyPair.generate().publicKey), "--server-key is probably not"),
      (SocketSecurity.none, "asks for keys and this worker has none"),
    ] {
      var options = workerOptions(frontEnd.controlEndpoint)
      options.security = security
      let lines = Mailbox<String>()
      let worker = try FakeWorker(options, logger: logger(lines))
      var heard = ""
      #expect(
        eventually {
          heard += lines.takeAll().joined(separator: "\n")
          return heard.contains(expected)
        }, "\(expected)")
      worker.kill()
    }
    #expect(learnerLines.takeAll().contains { $0.contains("failed in its handshake") })
    let plain = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { plain.shutdown(reason: "end", within: .seconds(5)) }
    let lines = Mailbox<String>()
    let worker = try FakeWorker(secureWorker(plain.controlEndpoint, "one"), logger: logger(lines))
    var heard = ""
    #expect(
      eventually {
        heard += lines.takeAll().joined(separator: "\n")
        return heard.contains("works without keys and this worker has some")
      })
    worker.kill()
  }

  /// Breaking the protocol costs the key, and nobody else's.
  @Test func aKeyWhoseHolderBrokeTheProtocolIsRefused() throws {
    let lines = Mailbox<String>()
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: logger(lines))
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let security = try directory.clientSecurity(name: "one").security
    do {
      var options = Socket.Options()
      options.security = security
      let socket = try Socket(.dealer, context: TransportContext(), options: options)
      try socket.connect(Endpoint(frontEnd.controlEndpoint))
      #expect(try eventually { try socket.send([[1, 2, 3]]) == .sent })
      #expect(eventually { frontEnd.statistics().quarantinedKeys == 1 })
    }
    #expect(frontEnd.statistics().counters.malformedMessages == 1)
    #expect(lines.takeAll().contains { $0.contains("is refused until it is pardoned") })

    let workerLines = Mailbox<String>()
    let cheat = try FakeWorker(secureWorker(frontEnd.controlEndpoint, "one"), logger: logger(workerLines))
    let honest = try FakeWorker(secureWorker(frontEnd.controlEndpoint, "two"))
    var heard = ""
    #expect(
      eventually {
        heard += workerLines.takeAll().joined(separator: "\n")
        return heard.contains("it is in quarantine")
      })
    try frontEnd.submit(promptGroups(0..<2))
    let groups = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    #expect(groups.flatMap(\.samples).allSatisfy { $0.workerName == "two" })
    #expect(frontEnd.statistics().workers.map(\.name) == ["two"])
    _ = (cheat, honest)
  }

  /// A program of another generation is out of date, not hostile.
  @Test func anOutdatedProgramKeepsItsKey() throws {
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    var options = Socket.Options()
    options.security = try directory.clientSecurity(name: "one").security
    let socket = try Socket(.dealer, context: TransportContext(), options: options)
    try socket.connect(Endpoint(frontEnd.controlEndpoint))
    // Field 1 of the envelope: another generation.
    #expect(try eventually { try socket.send([[8, 99]]) == .sent })
    #expect(eventually { frontEnd.statistics().counters.malformedMessages == 1 })
    #expect(frontEnd.statistics().quarantinedKeys == 0)
  }

  @Test func aKeyTakenOffTheListLosesItsSession() throws {
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let workers = try ["one", "two"].map { try FakeWorker(secureWorker(frontEnd.controlEndpoint, $0)) }
    #expect(eventually { frontEnd.statistics().workers.count == 2 })
    let path = folder + "/learner/authorized_workers"
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").filter {
      !$0.hasSuffix(" two")
    }
    try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    #expect(eventually { frontEnd.statistics().workers.map(\.name) == ["one"] })
    #expect(eventually { frontEnd.statistics().refusedKeys >= 1 })
    #expect(frontEnd.statistics().workers.map(\.name) == ["one"])
    _ = workers
  }

  @Test func whatIsMissingOrContradictsIsRefusedAtTheDoor() throws {
    var configuration = RunConfiguration()
    #expect(try configuration.learner.endpoints.security(keys: nil, allowInsecure: false, logger: quiet).isNone)
    configuration.learner.endpoints.controlEndpoint = "tcp://0.0.0.0:5555"
    let error = #expect(throws: TransportError.self) {
      try configuration.learner.endpoints.security(keys: nil, allowInsecure: false, logger: quiet)
    }
    #expect(error?.message.contains("softgrpo keygen") == true)
    #expect(try configuration.learner.endpoints.security(keys: nil, allowInsecure: true, logger: quiet).isNone)
    #expect(try !configuration.learner.endpoints.security(keys: folder, allowInsecure: false, logger: quiet).isNone)
    #expect(throws: RoleError.self) {
      try configuration.learner.endpoints.security(keys: folder, allowInsecure: true, logger: quiet)
    }
    configuration.learner.endpoints.serverKey = folder + "/learner/server.key"
    configuration.learner.endpoints.authorizedWorkers = folder + "/learner/authorized_workers"
    #expect(try !configuration.learner.endpoints.security(keys: nil, allowInsecure: false, logger: quiet).isNone)

    func worker(
      _ endpoint: String, keys: String? = nil, key: String? = nil, serverKey: String? = nil, insecure: Bool = false
    ) throws -> LoadedSecurity? {
      try workerSecurity(
        connecting: endpoint, name: "one", keys: keys, key: key, serverKey: serverKey, allowInsecure: insecure,
        logger: quiet)
    }
    #expect(try worker("tcp://127.0.0.1:1") == nil)
    #expect(try worker("tcp://box:1", insecure: true) == nil)
    #expect(try worker("tcp://box:1", keys: folder) != nil)
    let key = folder + "/workers/one.key"
    #expect(try worker("tcp://box:1", key: key, serverKey: folder + "/workers/server.pub") != nil)
    #expect(throws: RoleError.self) { try worker("tcp://box:1") }
    #expect(throws: RoleError.self) { try worker("tcp://box:1", key: key) }
    #expect(throws: RoleError.self) { try worker("tcp://box:1", keys: folder, key: key, serverKey: key) }
    #expect(throws: RoleError.self) { try worker("tcp://box:1", keys: folder, insecure: true) }
  }

  /// What keygen --relay makes is all that both sides of a relay need, by the names of the keys.
  @Test func aRelayByTheNamesOfKeys() throws {
    _ = try directory.extend(workers: [], relays: [.init(name: "rack", children: ["leaf"])])
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    try frontEnd.publish(weights(0))
    let (above, loaded) = try workerAttachments(
      connecting: [frontEnd.controlEndpoint], name: "rack", keys: folder, key: nil, serverKeys: [],
      allowInsecure: false, isRelay: true, logger: quiet)
    var options = RelayServiceOptions(
      attachments: above, name: "rack", controlEndpoint: "tcp://127.0.0.1:0",
      announcementEndpoint: "tcp://127.0.0.1:0")
    options.security = try relaySecurity(
      binding: ["tcp://0.0.0.0:5555"], keys: nil, key: nil, authorizedWorkers: nil, ownKeys: folder, name: "rack",
      allowInsecure: false, logger: quiet)
    options.upstreamKeys = loaded
    let relay = try RelayService(options, stop: StopSignal(), logger: quiet)
    let thread = try IOThread(name: "relay") { try? relay.run() }
    #expect(eventually { relay.frontEnd != nil })
    let (places, _) = try workerAttachments(
      connecting: [try #require(relay.frontEnd).controlEndpoint, frontEnd.controlEndpoint], name: "leaf", keys: folder,
      key: nil, serverKeys: ["rack", "server"], allowInsecure: false, logger: quiet)
    var leafOptions = workerOptions(places[0].endpoint, name: "leaf")
    leafOptions.security = places[0].security
    leafOptions.alternatives = [places[1]]
    let leaf = try FakeWorker(leafOptions)
    #expect(eventually { relay.frontEnd?.statistics().workers.map(\.name) == ["leaf"] })
    // The learner is its second choice.
    relay.abort()
    thread.join()
    #expect(eventually { frontEnd.statistics().workers.contains { $0.name == "leaf" } })
    frontEnd.shutdown(reason: "end", within: .seconds(5))
    _ = leaf
  }

  /// A link that resets, again and again, is not taken for a wrong key.
  @Test func aBrokenLinkIsNoWrongKey() throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    try #require(isBound)
    let lines = Mailbox<String>()
    let worker = try FakeWorker(
      secureWorker("tcp://127.0.0.1:\(UInt16(bigEndian: address.sin_port))", "one"), logger: logger(lines))
    for _ in 0..<6 {
      let connection = accept(listener, nil, nil)
      var byte: UInt8 = 0
      _ = recv(connection, &byte, 1, 0)
      var lingering = linger(l_onoff: 1, l_linger: 0)
      setsockopt(connection, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
      close(connection)
    }
    var heard: [String] = []
    #expect(
      eventually {
        heard += lines.takeAll()
        return heard.count { $0.contains("ended in its handshake") } >= 5
      })
    #expect(!heard.contains { $0.contains("--server-key") })
    worker.kill()
  }

  /// A worker's key upwards, a server's downwards: workers know the relay by its key, and the learner the relay by its own.
  @Test func aRelayUnderCurve() throws {
    let list = folder + "/learner/authorized_workers"
    try String(contentsOfFile: list, encoding: .utf8).replacing(" one\n", with: " one (relay)\n").write(
      toFile: list, atomically: true, encoding: .utf8)
    let frontEnd = try LearnerFrontEnd(secureOptions(), logger: quiet)
    try frontEnd.publish(weights(0))
    let below = KeyDirectory(folder + "/below")
    _ = try below.extend(workers: ["leaf"])
    let (attachments, _) = try workerAttachments(
      connecting: [frontEnd.controlEndpoint], name: "one", keys: nil, key: folder + "/workers/one.key",
      serverKeys: [folder + "/workers/server.pub"], allowInsecure: false, logger: quiet)
    var options = RelayServiceOptions(
      attachments: attachments, name: "one", controlEndpoint: "tcp://127.0.0.1:0",
      announcementEndpoint: "tcp://127.0.0.1:0")
    options.security = try relaySecurity(
      binding: ["tcp://0.0.0.0:5555"], keys: folder + "/below", key: nil, authorizedWorkers: nil, allowInsecure: false,
      logger: quiet)
    let relay = try RelayService(options, stop: StopSignal(), logger: quiet)
    let thread = try IOThread(name: "relay") { try? relay.run() }
    #expect(eventually { relay.frontEnd != nil })
    let endpoint = try #require(relay.frontEnd).controlEndpoint
    // Keys of the learner's list open nothing here, and the relay's list nothing there.
    let (places, _) = try workerAttachments(
      connecting: [frontEnd.controlEndpoint, endpoint], name: "leaf", keys: nil,
      key: folder + "/below/workers/leaf.key",
      serverKeys: [folder + "/workers/server.pub", folder + "/below/workers/server.pub"], allowInsecure: false,
      logger: quiet)
    var leafOptions = workerOptions(endpoint, name: "leaf")
    leafOptions.endpoint = places[0].endpoint
    leafOptions.security = places[0].security
    leafOptions.alternatives = [places[1]]
    leafOptions.handshakeTimeout = .milliseconds(500)
    let leaf = try FakeWorker(leafOptions)
    try frontEnd.submit(promptGroups(0..<4))
    let groups = try frontEnd.collect(groupCount: 4, within: .seconds(30))
    #expect(groups.flatMap(\.samples).allSatisfy { $0.workerName == "leaf" })
    #expect(frontEnd.statistics().workers.map(\.name) == ["one"])
    #expect(frontEnd.shutdown(reason: "end", within: .seconds(5)))
    thread.join()
    _ = leaf
  }

  @Test func aRelayInTheOpenIsRefused() throws {
    let options = RelayServiceOptions(
      attachments: [Attachment(endpoint: "tcp://127.0.0.1:1")], controlEndpoint: "tcp://0.0.0.0:0")
    #expect(throws: TransportError.self) { try RelayService(options, stop: StopSignal(), logger: quiet) }
    func relay(keys: String? = nil, key: String? = nil, list: String? = nil, insecure: Bool = false) throws
      -> SocketSecurity
    {
      try relaySecurity(
        binding: ["tcp://0.0.0.0:0"], keys: keys, key: key, authorizedWorkers: list, allowInsecure: insecure,
        logger: quiet)
    }
    #expect(throws: TransportError.self) { try relay() }
    #expect(throws: RoleError.self) { try relay(key: folder + "/learner/server.key") }
    #expect(throws: RoleError.self) { try relay(keys: folder, insecure: true) }
    #expect(try relay(insecure: true).isNone && !relay(keys: folder).isNone)
    #expect(throws: RoleError.self) {
      try workerAttachments(
        connecting: ["tcp://a:1", "tcp://b:1", "tcp://c:1"], name: nil, keys: nil, key: "k", serverKeys: ["a", "b"],
        allowInsecure: false, logger: quiet)
    }
  }
}
