import Foundation

/// The secret of a dashboard that other machines can reach. It comes from a file: what stands in a configuration is copied into the
/// run's folder, printed by a dry run, and named in a log when it changes.
public enum PageToken {
  /// The file's only line.
  ///
  /// - Throws: `ObservabilityError` when it cannot be read, when others can read it, and for a text that is no token.
  public static func read(_ path: String, setting: String) throws(ObservabilityError) -> String {
    var about = stat()
    guard stat(path, &about) == 0, let data = FileManager.default.contents(atPath: path) else {
      throw ObservabilityError(
        "\(setting): \(path) cannot be read; make it with (umask 077; openssl rand -hex 16 >\(path))")
    }
    // A file of somebody else, such as a mounted secret, may be readable by its group.
    let forbidden: mode_t = about.st_uid == geteuid() ? 0o077 : 0o007
    guard about.st_mode & forbidden == 0 else {
      throw ObservabilityError("\(setting): \(path) can be read by others: chmod 600 \(path)")
    }
    let token = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    guard isToken(token) else {
      throw ObservabilityError(
        "\(setting): \(path) must hold at least 12 letters, digits, - or _, such as `openssl rand -hex 16` gives")
    }
    return token
  }

  static func isToken(_ text: String) -> Bool {
    text.utf8.count >= 12
      && text.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
          || $0 == 0x5F
      }
  }
}
