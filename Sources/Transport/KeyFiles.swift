import Glibc

/// Keys on disk, in the certificate format that czmq and pyzmq use: `public-key = "…"` and, in a secret file,
/// `secret-key = "…"`.
public enum KeyFile {
  /// A key pair and what is said about it.
  public struct Secret: Sendable {
    public var pair: KeyPair
    public var name: String
    /// Why the file is less private than it should be; `nil` when only its owner can read it.
    public var warning: String?
  }

  /// Reads a secret key file.
  /// - Throws: `TransportError` when it cannot be read, holds no secret key, or its two keys are not a pair.
  public static func readSecret(_ path: String) throws -> Secret {
    let fields = try read(path)
    guard let secretText = fields["secret-key"] else {
      throw TransportError(
        "\(path): holds no secret-key"
          + (fields["public-key"] == nil ? "" : "; it is a public file, and the secret one is needed")
          + ". `softgrpo keygen` makes one")
    }
    let pair: KeyPair
    do { pair = try KeyPair(SecretKey(secretText)) } catch { throw TransportError("\(path): \(error)") }
    if let publicText = fields["public-key"], publicText != pair.publicKey.text {
      throw TransportError("\(path): its public-key does not belong to its secret-key; one of them was changed")
    }
    var status = stat()
    // Of a file that is not our own (a mounted secret), reading by group is how we come to read it.
    let forbidden: mode_t = stat(path, &status) == 0 && status.st_uid == geteuid() ? 0o077 : 0o007
    let isPrivate = status.st_mode & forbidden == 0
    return Secret(
      pair: pair, name: fields["name"] ?? "",
      warning: isPrivate ? nil : "\(path): other users of this machine can read this secret key; chmod 600 it")
  }

  /// A public key: the 40 characters themselves, or a file that holds them (public or secret).
  ///
  /// A file goes before a key: a path of 40 characters can be spelled in Z85 too, and then names another key than the
  /// one that it holds.
  /// - Throws: `TransportError` when it is neither.
  public static func publicKey(_ keyOrPath: String) throws -> PublicKey {
    guard access(keyOrPath, F_OK) == 0 else {
      if let key = try? PublicKey(keyOrPath) { return key }
      throw TransportError(
        "\"\(keyOrPath)\" is neither a public key (40 characters of Z85) nor a file; `softgrpo keygen` makes keys")
    }
    guard let text = try read(keyOrPath)["public-key"] else {
      throw TransportError("\(keyOrPath): holds no public-key")
    }
    do { return try PublicKey(text) } catch { throw TransportError("\(keyOrPath): \(error)") }
  }

  /// Writes a secret key file, readable by its owner alone. A file that exists is never replaced: a lost key is lost.
  /// - Throws: `TransportError` when the file exists or cannot be written.
  public static func writeSecret(_ pair: KeyPair, name: String, to path: String) throws {
    try create(
      path, mode: 0o600,
      text: """
        # softgrpo secret key. Whoever can read it can act as "\(printable(name))": keep it private.
        metadata
            name = "\(printable(name))"
        curve
            public-key = "\(pair.publicKey.text)"
            secret-key = "\(pair.secretKey.text)"

        """)
  }

  /// Writes a public key file.
  /// - Throws: `TransportError` when the file exists or cannot be written.
  public static func writePublic(_ key: PublicKey, name: String, to path: String) throws {
    try create(
      path, mode: 0o644,
      text: """
        # softgrpo public key: anyone may know it.
        metadata
            name = "\(printable(name))"
        curve
            public-key = "\(key.text)"

        """)
  }

  /// The fields of a certificate. Lines that are neither fields, headings nor comments are an error.
  private static func read(_ path: String) throws -> [String: String] {
    var fields: [String: String] = [:]
    for (index, line) in try readLines(path).enumerated() {
      let line = line.trimmed
      if line.isEmpty || line.hasPrefix("#") || !line.contains(where: { $0 == "=" || $0 == " " }) { continue }
      guard let equals = line.firstIndex(of: "=") else {
        throw TransportError("\(path):\(index + 1): expected name = \"value\"; is this a key file?")
      }
      let key = line[..<equals].trimmed
      var value = line[line.index(after: equals)...].trimmed
      if value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") { value = String(value.dropFirst().dropLast()) }
      fields[key] = value
    }
    return fields
  }

  private static func create(_ path: String, mode: mode_t, text: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else {
      throw TransportError(
        errno == EEXIST
          ? "\(path): exists; keys are never replaced. Remove it first, or choose another name"
          : "\(path): cannot be written: \(TransportError.text(of: errno))")
    }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
  }

  private static func printable(_ name: String) -> String {
    String(
      name.unicodeScalars.filter { $0.value >= 32 && $0 != "\"" && $0.value != 127 }.prefix(100).map(Character.init))
  }
}

/// The lines of a small text file.
/// - Throws: `TransportError` when it cannot be read, or is larger than 16 MiB and so no file of keys.
func readLines(_ path: String) throws -> [Substring] {
  guard let file = fopen(path, "r") else {
    throw TransportError("\(path): cannot be read: \(TransportError.text(of: errno))")
  }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = fread(&buffer, 1, buffer.count, file)
    if count == 0 { break }
    bytes += buffer[..<count]
    if bytes.count > 16 << 20 { throw TransportError("\(path): larger than any file of keys") }
  }
  if ferror(file) != 0 { throw TransportError("\(path): cannot be read: \(TransportError.text(of: errno))") }
  return String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
}

extension StringProtocol {
  /// Without white space at both ends.
  var trimmed: String {
    var rest = self[...]
    while let first = rest.first, first.isWhitespace { rest = rest.dropFirst() }
    while let last = rest.last, last.isWhitespace { rest = rest.dropLast() }
    return String(rest)
  }
}
