import Glibc
import Testing

@testable import Transport

@Suite struct EndpointTests {
  @Test func parts() throws {
    #expect(try Endpoint("tcp://127.0.0.1:5555").port == 5555)
    #expect(try Endpoint("tcp://[::1]:0").host == "::1")
    #expect(try Endpoint("tcp://[::1]:0").description == "tcp://[::1]:*")
    #expect(try Endpoint("tcp://*:5555").description == "tcp://*:5555")
    #expect(try Endpoint("ipc:///tmp/x").host == "/tmp/x")
    #expect(try Endpoint("inproc://x").isLocal)
  }

  @Test(arguments: [
    "", "5555", "127.0.0.1:5555", "tcp://127.0.0.1", "tcp://:5555", "tcp://host:99999", "tcp://host:-1",
    "tcp://::1:5555",
    "udp://host:1", "inproc://", "tcp://a b:1", "tcp://host:x",
  ])
  func badSyntaxSaysHowToWriteIt(text: String) {
    let error = #expect(throws: TransportError.self) { try Endpoint(text) }
    #expect(error?.message.contains("tcp://HOST:PORT") == true)
  }

  @Test func whatIsLocal() throws {
    for host in ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"] { #expect(try Endpoint("tcp://\(host):1").isLocal) }
    for host in ["*", "0.0.0.0", "[::]", "10.0.0.1", "127.evil.example.com", "eth0", "128.0.0.1"] {
      #expect(try !Endpoint("tcp://\(host):1").isLocal)
    }
  }

  @Test func siblingUsesTheHostThatWorks() throws {
    let endpoint = try Endpoint("tcp://learner.example:5555")
    #expect(try endpoint.sibling(announced: Endpoint("tcp://*:5556")).description == "tcp://learner.example:5556")
  }
}

@Suite struct SocketTests {
  /// Connections that the kernel lets wait at a socket of this process that listens on `port`.
  private func backlog(port: UInt16) -> Int? {
    for descriptor in 0..<Int32(1024) {
      var (isListening, size) = (Int32(0), socklen_t(4))
      guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0, isListening == 1 else {
        continue
      }
      var (address, length) = (sockaddr_storage(), socklen_t(MemoryLayout<sockaddr_storage>.size))
      let bound = withUnsafeMutableBytes(of: &address) { bytes -> UInt16? in
        let pointer = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
        guard getsockname(descriptor, pointer, &length) == 0 else { return nil }
        // Of IPv4 and IPv6 alike.
        return bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self).bigEndian
      }
      guard bound == port else { continue }
      // struct tcp_info of a listening socket: tcpi_sacked, at 28, is the length that its queue may have.
      var (information, count) = ([UInt8](repeating: 0, count: 104), socklen_t(104))
      guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &information, &count) == 0, count >= 32 else {
        return nil
      }
      return information.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 28, as: UInt32.self)) }
    }
    return nil
  }

  @Test func aFleetMayWaitToBeAccepted() throws {
    let socket = try Socket(.router, context: TransportContext())
    let endpoint = try socket.bind(Endpoint("tcp://127.0.0.1:0"))
    let file = try #require(fopen("/proc/sys/net/core/somaxconn", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 32)
    let text = try #require(fgets(&line, 32, file)).withMemoryRebound(to: CChar.self, capacity: 32) {
      String(cString: $0)
    }
    let limit = try #require(Int(text.filter(\.isNumber)))
    #expect(backlog(port: UInt16(endpoint.port)) == min(4096, limit))
    #expect(try socket.receive() == nil)
  }

  private func receive(_ socket: borrowing Socket) throws -> [[UInt8]]? {
    let waker = try Waker()
    for _ in 0..<100 {
      if let frames = try socket.receive() { return frames }
      try poll(socket, waker: waker, timeout: .milliseconds(100))
    }
    return nil
  }

  private func failureToBind(_ socket: borrowing Socket, _ endpoint: Endpoint) -> TransportError? {
    do {
      _ = try socket.bind(endpoint)
      return nil
    } catch { return error as? TransportError }
  }

  @Test(arguments: ["tcp://127.0.0.1:0", "tcp://[::1]:0", "inproc://socket-test"])
  func routerAndDealer(endpoint: String) throws {
    let context = try TransportContext()
    let router = try Socket(.router, context: context)
    let bound = try router.bind(Endpoint(endpoint))
    let dealer = try Socket(.dealer, context: context)
    try dealer.connect(bound)
    var outcome = Socket.SendOutcome.full
    let waker = try Waker()
    for _ in 0..<100 where outcome != .sent {
      outcome = try dealer.send([[1, 2], [], [3]])
      if outcome != .sent { try poll(dealer, waker: waker, timeout: .milliseconds(20)) }
    }
    let received = try receive(router)
    let message = try #require(received)
    #expect(Array(message.dropFirst()) == [[1, 2], [], [3]])
    let answered = try router.send([message[0], [9]])
    #expect(answered == .sent)
    let answer = try receive(dealer)
    #expect(answer == [[9]])
    let misdirected = try router.send([[0, 1, 2], [9]])
    #expect(misdirected == .unreachable)
  }

  @Test func publicAddressesNeedPermission() throws {
    let socket = try Socket(.router, context: TransportContext())
    let error = failureToBind(socket, try Endpoint("tcp://0.0.0.0:0"))
    #expect(error?.message.contains("--insecure") == true)
    let bound = try socket.bind(Endpoint("tcp://0.0.0.0:0"), allowInsecure: true)
    #expect(bound.port > 0)
  }

  @Test func portInUseNamesItsOwner() throws {
    let context = try TransportContext()
    let first = try Socket(.router, context: context)
    let bound = try first.bind(Endpoint("tcp://127.0.0.1:0"))
    let second = try Socket(.router, context: context)
    let error = failureToBind(second, bound)
    #expect(error?.message.contains("in use by") == true)
    #expect(error?.message.contains(bound.description) == true)
  }

  @Test func unconnectedDealerRefuses() throws {
    let dealer = try Socket(.dealer, context: TransportContext())
    try dealer.connect(Endpoint("tcp://127.0.0.1:1"))
    let outcome = try dealer.send([[1]])
    #expect(outcome == .full)
    do {
      try dealer.connect(Endpoint("tcp://*:5"))
      Issue.record("connected to a wildcard")
    } catch let error as TransportError {
      #expect(error.message.contains("name a host"))
    }
  }

  @Test func excessFramesAreNotMistakenForAMessage() throws {
    let context = try TransportContext()
    let left = try Socket(.pair, context: context)
    _ = try left.bind(Endpoint("inproc://frames"))
    let right = try Socket(.pair, context: context)
    try right.connect(Endpoint("inproc://frames"))
    try left.send(Array(repeating: [1], count: 20))
    try left.send([[2]])
    let cut = try right.receive(maximumFrameCount: 3)
    #expect(cut == [[1], [1], [1], []])
    let whole = try right.receive()
    #expect(whole == [[2]])
  }

  @Test func durationsBecomeMilliseconds() {
    #expect(Duration.microseconds(1).wholeMilliseconds == 1)
    #expect(Duration.seconds(-1).wholeMilliseconds == 0)
    #expect(Duration.seconds(1 << 40).wholeMilliseconds == 2_000_000_000)
    #expect(Duration.milliseconds(1500).wholeMilliseconds == 1500)
  }
}

@Suite struct ThreadTests {
  @Test func mailboxCrossesThreads() throws {
    let mailbox = Mailbox<Int>()
    let thread = try IOThread(name: "producer") { for number in 0..<3000 { mailbox.put(number) } }
    #expect((0..<3000).allSatisfy { mailbox.take(within: .seconds(10)) == $0 })
    thread.join()
    thread.join()
    #expect(mailbox.take() == nil)
    mailbox.put(4)
    mailbox.close()
    #expect(mailbox.take(within: .seconds(10)) == 4)
    #expect(mailbox.take(within: .seconds(10)) == nil)
  }

  @Test func wakerEndsAPoll() throws {
    let waker = try Waker()
    let socket = try Socket(.pair, context: TransportContext())
    let thread = try IOThread(name: "waker") { waker.wake() }
    // Without the wake this would never return.
    try poll(socket, waker: waker, timeout: nil)
    thread.join()
  }
}
