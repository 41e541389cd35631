import Machine
import Synchronization
import Transport

/// What ZeroMQ itself carries over loopback on this machine: one PUSH, one PULL, nothing done with the messages.
enum Loopback {
  /// Megabytes a second of four-frame messages of `messageBytes` in all.
  static func megabytesPerSecond(messageBytes: Int, isSecure: Bool, seconds: Double) throws -> Double {
    let (server, client) = (try KeyPair.generate(), try KeyPair.generate())
    var pullOptions = Socket.Options()
    var pushOptions = Socket.Options()
    if isSecure {
      // Without a handler of its own the context lets the key in: nothing but the encryption is measured.
      pullOptions.security = .server(keys: server, allowed: AllowList([client.publicKey: "push"]))
      pushOptions.security = .client(keys: client, serverKey: server.publicKey)
    }
    let pull = try Socket(.pull, context: TransportContext(threadPrefix: 90), options: pullOptions)
    let endpoint = try pull.bind(Endpoint("tcp://127.0.0.1:0"))
    let shared = LoopbackEnd()
    let options = pushOptions
    let frames = [messageBytes / 10, messageBytes * 4 / 10, messageBytes * 4 / 10, messageBytes / 10].map {
      [UInt8](repeating: 1, count: max(1, $0))
    }
    let sender = try IOThread(name: "push") {
      guard let push = try? Socket(.push, context: TransportContext(threadPrefix: 91), options: options),
        (try? push.connect(endpoint)) != nil, let waker = try? Waker()
      else { return }
      while !shared.isOver {
        guard let outcome = try? push.send(frames) else { return }
        if outcome != .sent { try? poll(push, waker: waker, timeout: .milliseconds(10), wantsToSend: true) }
      }
    }
    let waker = try Waker()
    func receive(for duration: Double) throws -> Double {
      let start = MonotonicClock.now()
      var bytes = 0
      var elapsed = Duration.zero
      while elapsed < .seconds(duration) {
        try poll(pull, waker: waker, timeout: .milliseconds(50))
        while let frames = try pull.receive() {
          bytes += frames.reduce(0) { $0 + $1.count }
          elapsed = MonotonicClock.now() - start
          if elapsed >= .seconds(duration) { break }
        }
        elapsed = MonotonicClock.now() - start
      }
      return Double(bytes) / (Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18)
    }
    _ = try receive(for: 0.2)
    let rate = try receive(for: seconds)
    shared.isOver = true
    sender.join()
    return rate * 1e-6
  }

  private final class LoopbackEnd: Sendable {
    private let flag = Mutex(false)
    var isOver: Bool {
      get { flag.withLock { $0 } }
      set { flag.withLock { $0 = newValue } }
    }
  }
}
