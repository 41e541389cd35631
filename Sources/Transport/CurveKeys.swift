import CZeroMQ

/// The public half of a CURVE key pair: what a peer is known by. 32 bytes, written as 40 characters of Z85.
public struct PublicKey: Sendable, Hashable, CustomStringConvertible {
  public static let byteCount = 32
  public static let textCount = 40

  public let bytes: [UInt8]

  /// - Throws: `TransportError` unless `text` is 40 characters of Z85.
  public init(_ text: String) throws {
    bytes = try decodeKey(text, "public key", shown: text)
  }

  init?(bytes: [UInt8]) {
    guard bytes.count == Self.byteCount else { return nil }
    self.bytes = bytes
  }

  /// The key in Z85.
  public var text: String { Z85.encode(bytes) }
  public var description: String { text }
}

/// The secret half of a CURVE key pair. It is never printed.
public struct SecretKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
  let bytes: [UInt8]

  /// - Throws: `TransportError` unless `text` is 40 characters of Z85; the message does not repeat it.
  public init(_ text: String) throws {
    bytes = try decodeKey(text, "secret key", shown: nil)
  }

  /// The key in Z85, for its file.
  var text: String { Z85.encode(bytes) }
  public var description: String { "(secret)" }
  public var debugDescription: String { description }

  /// The public key that belongs to it.
  /// - Throws: `TransportError` when this libzmq lacks CURVE.
  public func publicKey() throws -> PublicKey {
    var buffer = [CChar](repeating: 0, count: PublicKey.textCount + 1)
    guard zmq_curve_public(&buffer, text) == 0 else { throw TransportError.last("cannot derive a public key") }
    return try PublicKey(String(decoding: buffer.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
  }
}

/// Who a learner, a relay or a worker is.
public struct KeyPair: Sendable {
  public let publicKey: PublicKey
  public let secretKey: SecretKey

  /// - Throws: `TransportError` when this libzmq lacks CURVE.
  public init(_ secretKey: SecretKey) throws {
    self.secretKey = secretKey
    publicKey = try secretKey.publicKey()
  }

  /// A new pair from the system's random numbers.
  /// - Throws: `TransportError` when this libzmq lacks CURVE.
  public static func generate() throws -> KeyPair {
    var publicText = [CChar](repeating: 0, count: PublicKey.textCount + 1)
    var secretText = publicText
    guard zmq_curve_keypair(&publicText, &secretText) == 0 else {
      throw TransportError.last("cannot make a key pair (libzmq was built without CURVE?)")
    }
    return try KeyPair(SecretKey(String(decoding: secretText.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)))
  }
}

private func decodeKey(_ text: String, _ what: String, shown: String?) throws -> [UInt8] {
  guard text.utf8.count == PublicKey.textCount, let bytes = Z85.decode(text) else {
    let quoted = shown.map { " \"\($0.prefix(60))\"" } ?? ""
    throw TransportError(
      "not a \(what):\(quoted) has \(text.utf8.count) characters; a key is 40 characters of Z85, as `softgrpo keygen` writes it"
    )
  }
  return bytes
}
