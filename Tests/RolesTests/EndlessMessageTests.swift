import Foundation
import Glibc
import Testing
import TestSupport
import Transport
import Wire

@testable import FrontEnd

/// Messages that never end: libzmq keeps their frames until they do.
@Suite(.serialized) struct EndlessMessageTests {
  /// A client that writes ZMTP 3 by hand, since libzmq sends whole messages alone.
  private final class HandWritten {
    let descriptor: Int32

    init(_ endpoint: Endpoint, socketType: String = "DEALER") throws {
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      // Whatever goes wrong: no call waits for ever.
      var patience = timeval(tv_sec: 3, tv_usec: 0)
      for option in [SO_SNDTIMEO, SO_RCVTIMEO] {
        setsockopt(descriptor, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
      }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(endpoint.port).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
      #expect(status == 0)
      var greeting: [UInt8] = [0xFF] + [UInt8](repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8)
      greeting += [UInt8](repeating: 0, count: 64 - greeting.count)
      let ready =
        [5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, UInt8(socketType.utf8.count)]
        + Array(socketType.utf8)
      #expect(write(greeting + [4, UInt8(ready.count)] + ready))
      // The other side's greeting and its READY: what comes before them would be taken for a part of the handshake.
      var answer = [UInt8](repeating: 0, count: 256)
      var count = 0
      while count < 91 {
        let more = recv(descriptor, &answer, answer.count, 0)
        guard more > 0 else { break }
        count += more
      }
      #expect(count >= 91)
    }

    deinit { close(descriptor) }

    /// False: the connection is closed.
    func write(_ bytes: [UInt8]) -> Bool {
      var sent = 0
      while sent < bytes.count {
        let count = bytes.withUnsafeBytes {
          send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
        }
        if count <= 0 { return false }
        sent += count
      }
      return true
    }

    func frame(_ body: [UInt8], more: Bool) -> [UInt8] {
      [more ? 3 : 2] + (0..<8).map { UInt8(truncatingIfNeeded: body.count >> (56 - 8 * $0)) } + body
    }

    /// Bytes until the connection is closed, at most `limit`.
    func flood(_ frame: [UInt8], atMost limit: Int) -> Int {
      var sent = 0
      while sent < limit, write(frame) { sent += frame.count }
      return sent
    }
  }

  private func wait(until isTrue: () -> Bool) {
    for _ in 0..<1000 where !isTrue() { usleep(10_000) }
  }

  @Test(arguments: [60_000, 1_000_000])
  func aMessageWithoutAnEndCostsTheConnection(_ frameByteCount: Int) throws {
    var options = frontEndOptions()
    options.trajectoryByteLimit = 1 << 20
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let endpoint = try Endpoint(frontEnd.controlEndpoint)
    let frame = { (peer: HandWritten) in peer.frame([UInt8](repeating: 7, count: frameByteCount), more: true) }
    // One that has said nothing, and one with a session.
    let silent = try HandWritten(endpoint)
    #expect(silent.flood(frame(silent), atMost: 16 << 30) < 16 << 30)
    wait { frontEnd.statistics().counters.malformedMessages == 1 }
    let known = try HandWritten(endpoint)
    let hello = try Envelope(.hello(RawPeer.hello("endless"))).encoded()
    #expect(known.write(known.frame(hello[0], more: false)))
    wait { frontEnd.statistics().workers.count == 1 }
    #expect(frontEnd.statistics().workers.map(\.name) == ["endless"])
    #expect(known.flood(frame(known), atMost: 16 << 30) < 16 << 30)
    wait { frontEnd.statistics().workers.isEmpty }
    #expect(frontEnd.statistics().workers.isEmpty && frontEnd.statistics().counters.malformedMessages == 2)
    // Everybody else is served.
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    _ = worker
  }

  @Test func aSubscriberThatTalksIsCutOff() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let peer = try HandWritten(Endpoint(frontEnd.announcementEndpoint), socketType: "SUB")
    let frame = peer.frame([1] + [UInt8](repeating: 7, count: 1000), more: false)
    #expect(peer.flood(frame, atMost: 16 << 30) < 16 << 30)
    wait { frontEnd.statistics().counters.malformedMessages == 1 }
    #expect(frontEnd.statistics().counters.malformedMessages == 1)
  }

  /// A whole message that is too large is dropped as it is read.
  @Test func aMessageOfManyFramesCostsTheSession() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let peer = try RawPeer(frontEnd.controlEndpoint)
    _ = try peer.join("many")
    try peer.send([[UInt8]](repeating: [UInt8](repeating: 1, count: 10), count: 1500))
    guard case .protocolError? = try peer.receive()?.message else {
      Issue.record("it goes on")
      return
    }
    #expect(frontEnd.statistics().workers.isEmpty)
  }

  /// Messages that lead nowhere are not answered for ever, and others are served meanwhile.
  @Test func aFloodOfMessagesIsNotHeard() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let peer = try RawPeer(frontEnd.controlEndpoint)
    let session = try peer.join("flood")
    let pull = try Envelope(session: session, .pullManifest(version: 99, isDelta: false)).encoded()
    var answers = 0
    func takeAnswers() throws {
      while let frames = try peer.socket.receive() {
        if case .weightsUnavailable = try Envelope(decoding: frames).message { answers += 1 }
      }
    }
    for _ in 0..<4000 {
      while try peer.socket.send(pull) != .sent { usleep(500) }
      try takeAnswers()
    }
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    // As many wait at the connection as its marks allow.
    for _ in 0..<30 {
      usleep(10_000)
      try takeAnswers()
    }
    // No fewer than at once, and none while it is not heard.
    #expect(answers >= 2000 && answers < 3500, "\(answers) answers")
    _ = worker
  }
}
