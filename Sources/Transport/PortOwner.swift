import Glibc

/// Finds the process that listens on a port, for the message of a failed bind.
enum PortOwner {
  /// "python3 (process 1234)"; `nil` when it cannot be told, for instance for another user's process.
  static func describe(port: Int) -> String? {
    let inodes = listeningInodes(port: port)
    guard !inodes.isEmpty else { return nil }
    for process in entries(of: "/proc") {
      guard let number = Int(process) else { continue }
      for descriptor in entries(of: "/proc/\(number)/fd") {
        guard let target = link("/proc/\(number)/fd/\(descriptor)"), target.hasPrefix("socket:["),
          inodes.contains(String(target.dropFirst(8).dropLast()))
        else { continue }
        let name = text(of: "/proc/\(number)/comm").split(separator: "\n").first ?? "a process"
        return "\(name) (process \(number))"
      }
    }
    return nil
  }

  /// Inodes of sockets in state LISTEN (0A) on the port, from the kernel's tables.
  private static func listeningInodes(port: Int) -> Set<String> {
    var inodes: Set<String> = []
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
      for line in text(of: table).split(separator: "\n").dropFirst() {
        let fields = line.split(separator: " ")
        guard fields.count > 9, fields[3] == "0A", let portText = fields[1].split(separator: ":").last,
          Int(portText, radix: 16) == port
        else { continue }
        inodes.insert(String(fields[9]))
      }
    }
    return inodes
  }

  private static func entries(of folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(withUnsafePointer(to: &entry.pointee.d_name.0) { String(cString: $0) })
    }
    return names
  }

  private static func link(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
  }

  private static func text(of path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
