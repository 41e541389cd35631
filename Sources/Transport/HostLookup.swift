import Glibc
import Synchronization

/// Finds the addresses of host names on threads of its own.
///
/// libzmq does it on the thread that moves every message of the context, and asks again at every attempt to connect: a name
/// whose server does not answer (a machine that was taken away, a broken resolver) would hold up the connections to all
/// others, and the end of the process, for ten seconds and more each time. So sockets are given addresses.
public final class HostLookup: Sendable {
  public enum Answer: Sendable, Equatable {
    /// Ask again; the waker is used when there is more to say.
    case pending
    /// Where the endpoint may be, IPv4 first: what listens on 0.0.0.0 is not found at an IPv6 address.
    case found([Endpoint])
    /// Why it was not found.
    case failed(String)
  }

  /// From a host's name to its addresses; throws `TransportError` with the resolver's reason.
  public typealias Resolver = @Sendable (_ host: String) throws -> [String]

  /// Outlives the lookup: threads that still wait for the resolver hold it.
  private final class Book: Sendable {
    /// Of a name that was asked for: nil until its thread has come back.
    let entries = Mutex<[String: Result<[String], TransportError>?]>([:])
  }

  private let book = Book()
  private let resolve: Resolver
  private let waker: Waker?

  /// - Parameters:
  ///   - waker: used when an answer is there.
  ///   - resolve: the system's resolver, or another one in tests.
  public init(waker: Waker? = nil, resolve: @escaping Resolver = HostLookup.system) {
    self.waker = waker
    self.resolve = resolve
  }

  /// Begins to look `endpoint` up, or says what came of it. An answer is given once: asking after it looks again. Addresses
  /// in numbers, and endpoints other than tcp, are their own answer.
  ///
  /// - Throws: `TransportError` when the system has no thread left.
  public func ask(_ endpoint: Endpoint) throws -> Answer {
    let host = endpoint.host
    guard endpoint.kind == .tcp, !Self.isNumeric(host) else { return .found([endpoint]) }
    let (isNew, answer) = book.entries.withLock { entries -> (Bool, Result<[String], TransportError>?) in
      guard let entry = entries[host] else {
        entries[host] = .some(nil)
        return (true, nil)
      }
      if entry != nil { entries[host] = nil }
      return (false, entry)
    }
    if isNew {
      let (book, resolve, waker) = (book, resolve, waker)
      do {
        // Not joined: nobody waits for a resolver.
        _ = try IOThread(name: "host-lookup") {
          let found: Result<[String], TransportError>
          do { found = .success(try resolve(host)) } catch let error as TransportError { found = .failure(error) } catch
          {
            found = .failure(TransportError("\(error)"))
          }
          book.entries.withLock { $0[host] = .some(found) }
          waker?.wake()
        }
      } catch {
        book.entries.withLock { $0[host] = nil }
        throw error
      }
    }
    switch answer {
    case nil: return .pending
    case .success(let addresses):
      let places = addresses.map { Endpoint(kind: .tcp, host: $0, port: endpoint.port) }
      return places.isEmpty ? .failed("it has no address") : .found(places)
    case .failure(let error): return .failed(error.message)
    }
  }

  static func isNumeric(_ host: String) -> Bool {
    var address = in6_addr()
    // An IPv6 address may name its interface: fe80::1%eth0.
    let bare = String(host.prefix { $0 != "%" })
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, bare, &address) == 1
  }

  /// The system's resolver; blocks for as long as that takes.
  public static let system: Resolver = { host in
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &list)
    guard status == 0 else { throw TransportError(String(cString: gai_strerror(status))) }
    defer { freeaddrinfo(list) }
    var (first, second): ([String], [String]) = ([], [])
    var next = list
    while let entry = next?.pointee {
      next = entry.ai_next
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      let length = socklen_t(text.count)
      guard getnameinfo(entry.ai_addr, entry.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST) == 0 else { continue }
      let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if entry.ai_family == AF_INET { first.append(address) } else { second.append(address) }
    }
    return first + second
  }
}
