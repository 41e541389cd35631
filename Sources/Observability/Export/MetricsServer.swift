import Foundation
import Synchronization

/// Serves one page at `http://127.0.0.1:PORT/metrics`, on a thread of its own, to one reader at a time. Other machines cannot
/// reach it.
public final class MetricsServer: Sendable {
  private final class Page: Sendable {
    let text = Mutex("")
    let isOver = Atomic<Bool>(false)
  }

  /// The port in use.
  public let port: Int
  private let listener: Int32
  private let page = Page()

  /// - Parameter port: 0: any free one.
  /// - Throws: `ObservabilityError` when the port cannot be had.
  public init(port: Int) throws(ObservabilityError) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard listener >= 0 else { throw ObservabilityError("open a socket at", "127.0.0.1:\(port)") }
    var yes: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &size) == 0
      }
    }
    guard isBound else {
      let reason = String(cString: strerror(errno))
      close(listener)
      throw ObservabilityError(
        "metrics.prometheus_port: port \(port) cannot be had: \(reason); choose another, or 0 for none")
    }
    self.listener = listener
    self.port = Int(UInt16(bigEndian: address.sin_port))
    let page = page
    Thread.detachNewThread { Self.serve(listener, page) }
  }

  deinit {
    page.isOver.store(true, ordering: .relaxed)
    // Wakes the thread, which closes it.
    shutdown(listener, Int32(SHUT_RDWR))
  }

  public func show(_ text: String) { page.text.withLock { $0 = text } }

  private static func serve(_ listener: Int32, _ page: Page) {
    while !page.isOver.load(ordering: .relaxed) {
      let reader = accept(listener, nil, nil)
      guard reader >= 0 else {
        if errno == EINTR || errno == ECONNABORTED { continue }
        break
      }
      // A program that is started meanwhile does not take it along.
      _ = fcntl(reader, F_SETFD, FD_CLOEXEC)
      answer(reader, page)
      close(reader)
    }
    close(listener)
  }

  /// Bytes; a page needs no more to be asked for.
  private static let longestRequest = 65_536

  private static func answer(_ reader: Int32, _ page: Page) {
    // A reader that says nothing holds nobody up for long.
    var limit = timeval(tv_sec: 2, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(reader, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    // Read to its end: what is left unread when the connection is closed resets it, and the answer with it.
    var request: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4096)
    while !request.suffix(4).elementsEqual("\r\n\r\n".utf8) {
      let count = recv(reader, &part, part.count, 0)
      guard count > 0, request.count + count <= longestRequest else { return }
      request += part[..<count]
    }
    let words = String(decoding: request, as: UTF8.self).split(separator: " ", maxSplits: 2)
    let isFound = words.count == 3 && words[0] == "GET" && words[1] == "/metrics"
    let body = isFound ? page.text.withLock { $0 } : "see /metrics\n"
    let text =
      "HTTP/1.1 \(isFound ? "200 OK" : "404 Not Found")\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
      + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let sent = rest.withUnsafeBytes { send(reader, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else { return }
      rest = rest.dropFirst(sent)
    }
  }
}
