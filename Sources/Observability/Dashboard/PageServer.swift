import Foundation
import Synchronization

/// What was asked for, as far as a page needs it.
public struct PageRequest: Sendable, Equatable {
  public var method: String
  /// Without the query.
  public var path: String
  /// Decoded; of a name that occurs twice the first.
  public var query: [String: String]
  /// By lower-case name.
  public var headers: [String: String]

  public init(method: String = "GET", path: String, query: [String: String] = [:], headers: [String: String] = [:]) {
    self.method = method
    self.path = path
    self.query = query
    self.headers = headers
  }

  /// - Parameter text: the head of an HTTP request.
  /// - Returns: nil for what is none.
  init?(head text: String) {
    var lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)[...]
    guard let words = lines.popFirst()?.split(separator: " "), words.count == 3 else { return nil }
    method = String(words[0])
    let parts = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts[0])
    query = [:]
    for item in parts.count > 1 ? parts[1].split(separator: "&") : [] {
      let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
        $0.replacing("+", with: " ").removingPercentEncoding ?? ""
      }
      if query[pair[0]] == nil { query[pair[0]] = pair.count > 1 ? pair[1] : "" }
    }
    headers = [:]
    for line in lines {
      let pair = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2 else { continue }
      headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
    }
  }
}

public struct PageResponse: Sendable, Equatable {
  public var status: Int
  public var type: String
  public var body: [UInt8]
  /// Further header lines.
  public var headers: [(name: String, value: String)] = []

  public init(status: Int = 200, type: String, _ body: String) {
    self.status = status
    self.type = type
    self.body = Array(body.utf8)
  }

  public static func == (left: Self, right: Self) -> Bool {
    left.status == right.status && left.type == right.type && left.body == right.body
  }

  private static let reasons = [
    200: "OK", 302: "Found", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    503: "Service Unavailable",
  ]

  fileprivate var bytes: [UInt8] {
    var head =
      "HTTP/1.1 \(status) \(Self.reasons[status] ?? "")\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    return Array((head + "Cache-Control: no-store\r\nConnection: close\r\n\r\n").utf8) + body
  }
}

/// Answers requests without a body, on threads of its own. Every request has a deadline and a bound, and there are never more than a few at
/// once: whoever stalls or floods it costs the process a few threads and some kilobytes, whatever they send. (A library would
/// be less to read; the Swift ones take headers of any length and wait for them as long as the sender likes.)
public final class PageServer: Sendable {
  private final class State: Sendable {
    let isOver = Atomic<Bool>(false)
    let readers = Atomic<Int>(0)
  }

  /// Requests that are answered at once.
  private static let readerLimit = 16
  /// Bytes of a request; a page needs no more to be asked for.
  private static let longestRequest = 16_384
  /// Seconds for a request: who says nothing for longer makes room for others.
  private static let requestDeadline = 3.0
  /// Seconds for an answer.
  private static let answerDeadline = 10.0

  /// The port in use.
  public let port: Int
  private let listener: Int32
  private let state = State()

  /// - Parameters:
  ///   - host: an IPv4 address of this machine, or `localhost`.
  ///   - port: 0: any free one.
  ///   - setting: what messages call the port.
  ///   - answer: called on the server's threads, several at once.
  /// - Throws: `ObservabilityError` when the port cannot be had.
  public init(
    host: String = "127.0.0.1", port: Int, setting: String, answer: @escaping @Sendable (PageRequest) -> PageResponse
  ) throws(ObservabilityError) {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    guard inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host, &address.sin_addr) == 1 else {
      throw ObservabilityError("\(setting): the host \"\(host)\" is no IPv4 address, such as 127.0.0.1 or 0.0.0.0")
    }
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard listener >= 0 else { throw ObservabilityError("open a socket at", "\(host):\(port)") }
    var yes: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 32) == 0 && getsockname(listener, $0, &size) == 0
      }
    }
    guard isBound else {
      let code = errno
      close(listener)
      throw ObservabilityError(
        "\(setting): port \(port) of \(host) cannot be had: \(String(cString: strerror(code))); choose another",
        code: code)
    }
    self.listener = listener
    self.port = Int(UInt16(bigEndian: address.sin_port))
    let state = state
    Thread.detachNewThread { Self.serve(listener, state, answer) }
  }

  deinit {
    state.isOver.store(true, ordering: .relaxed)
    // Wakes the thread, which closes it.
    shutdown(listener, Int32(SHUT_RDWR))
  }

  private static func serve(
    _ listener: Int32, _ state: State, _ answer: @escaping @Sendable (PageRequest) -> PageResponse
  ) {
    while !state.isOver.load(ordering: .relaxed) {
      let reader = accept(listener, nil, nil)
      guard reader >= 0 else {
        if errno == EINTR || errno == ECONNABORTED { continue }
        // Descriptors run out and come back.
        if errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS {
          usleep(100_000)
          continue
        }
        break
      }
      // A program that is started meanwhile does not take it along.
      _ = fcntl(reader, F_SETFD, FD_CLOEXEC)
      guard state.readers.add(1, ordering: .relaxed).newValue <= readerLimit else {
        state.readers.subtract(1, ordering: .relaxed)
        close(reader)
        continue
      }
      Thread.detachNewThread {
        if let head = head(of: reader) {
          if let request = PageRequest(head: head) { send(answer(request).bytes, to: reader) }
        }
        close(reader)
        state.readers.subtract(1, ordering: .relaxed)
      }
    }
    close(listener)
  }

  /// Sets how long the next call may wait; false when the time is up.
  private static func setTimeout(_ reader: Int32, _ option: Int32, until end: Date) -> Bool {
    let left = end.timeIntervalSinceNow
    guard left > 0 else { return false }
    var limit = timeval(tv_sec: Int(left), tv_usec: max(1000, Int((left - left.rounded(.down)) * 1e6)))
    return setsockopt(reader, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size)) == 0
  }

  /// Read to its end: what is left unread when the connection is closed resets it, and the answer with it.
  private static func head(of reader: Int32) -> String? {
    let end = Date(timeIntervalSinceNow: requestDeadline)
    var request: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4096)
    while !request.suffix(4).elementsEqual("\r\n\r\n".utf8) {
      guard setTimeout(reader, SO_RCVTIMEO, until: end) else { return nil }
      let count = recv(reader, &part, part.count, 0)
      guard count > 0, request.count + count <= longestRequest else { return nil }
      request += part[..<count]
    }
    return String(validating: request, as: UTF8.self)
  }

  private static func send(_ bytes: [UInt8], to reader: Int32) {
    let end = Date(timeIntervalSinceNow: answerDeadline)
    var start = 0
    while start < bytes.count, setTimeout(reader, SO_SNDTIMEO, until: end) {
      let sent = bytes.withUnsafeBytes {
        Glibc.send(reader, $0.baseAddress! + start, $0.count - start, Int32(MSG_NOSIGNAL))
      }
      guard sent > 0 else { return }
      start += sent
    }
  }
}
