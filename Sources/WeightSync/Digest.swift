import CLibCrypto

/// A SHA-256 digest.
public struct Digest: Sendable, Hashable, CustomStringConvertible {
  public static let byteCount = 32
  /// The parent of a chain's first version.
  public static let zero = Digest(unchecked: [UInt8](repeating: 0, count: byteCount))

  /// 32 bytes.
  public let bytes: [UInt8]

  /// - Throws: `WeightSyncError` unless there are 32 bytes.
  public init(_ bytes: some Collection<UInt8>) throws {
    guard bytes.count == Self.byteCount else {
      throw WeightSyncError("a digest of \(bytes.count) bytes; SHA-256 has \(Self.byteCount)")
    }
    self.bytes = Array(bytes)
  }

  init(unchecked bytes: [UInt8]) { self.bytes = bytes }

  /// SHA-256 of a text's UTF-8 bytes.
  public init(hashing text: String) {
    let hash = SHA256()
    hash.update(Array(text.utf8))
    self = hash.finalize()
  }

  /// All 64 digits.
  public var hexadecimal: String {
    bytes.map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined()
  }

  /// The first 12 hexadecimal digits: enough for a log.
  public var description: String { String(hexadecimal.prefix(12)) }
}

/// An incremental SHA-256 on libcrypto, which uses the processor's SHA instructions where there are any.
struct SHA256: ~Copyable {
  private let context: OpaquePointer

  init() {
    // libcrypto fails here only when memory is exhausted, as any Swift allocation would.
    context = EVP_MD_CTX_new()!
    precondition(EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1, "libcrypto has no SHA-256")
  }

  deinit { EVP_MD_CTX_free(context) }

  func update(_ bytes: UnsafeRawBufferPointer) { EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) }
  func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }
  func update(littleEndian value: UInt64) { withUnsafeBytes(of: value.littleEndian) { update($0) } }

  consuming func finalize() -> Digest {
    var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
    EVP_DigestFinal_ex(context, &bytes, nil)
    return Digest(unchecked: bytes)
  }
}
