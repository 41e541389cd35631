/// The memory that this process may have at most, and who says so.
public struct MemoryLimits: Sendable, Equatable {
  /// Bytes that limits of the address space or of data leave (`ulimit -v`, `ulimit -d`); nil: no limit.
  public var addressSpace: Int?
  /// Bytes that the control group allows; nil: no limit.
  public var controlGroup: Int?
  /// Bytes of the machine's memory and swap; nil: not known.
  public var machine: Int?

  public init(addressSpace: Int? = nil, controlGroup: Int? = nil, machine: Int? = nil) {
    self.addressSpace = addressSpace
    self.controlGroup = controlGroup
    self.machine = machine
  }

  private static let machineBytes: Int? = {
    let parts = ["MemTotal", "SwapTotal"].compactMap { ProcessFile.bytes($0, of: "/proc/meminfo") }
    return parts.isEmpty ? nil : parts.reduce(0, +)
  }()

  /// Those in force now.
  public static var current: MemoryLimits {
    return MemoryLimits(
      addressSpace: MemoryShortage.addressSpaceLeft, controlGroup: ControlGroup.current.memory,
      machine: machineBytes)
  }

  /// The narrowest, in words that name what to change.
  public var narrowest: (bytes: Int, name: String)? {
    [
      addressSpace.map { ($0, "the limit of the address space (ulimit -v, ulimit -d) leaves") },
      controlGroup.map { ($0, "the control group (memory.max, docker --memory, MemoryMax of a unit) allows") },
      machine.map { ($0, "this machine has, with its swap,") },
    ].compactMap(\.self).min { $0.0 < $1.0 }
  }
}

/// Memory that is needed for certain and cannot be had: found before anything is computed.
public struct MemoryError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public var description: String { message }

  /// - Throws: itself when `bytes`, which will all be written to, are more than `limits` allow.
  /// - Parameters:
  ///   - purpose: what they are for: "weights, their packed copy".
  ///   - remedy: what helps beside a wider limit, as a clause.
  public static func check(
    bytes: Int, for purpose: String, remedy: String, limits: MemoryLimits = .current
  ) throws(MemoryError) {
    guard let narrowest = limits.narrowest, bytes > narrowest.bytes else { return }
    func mebibytes(_ bytes: Int) -> String { "\(bytes >> 20) MiB" }
    throw MemoryError(
      message: "memory is short: \(purpose) take at least \(bytes) bytes (\(mebibytes(bytes))), but \(narrowest.name) "
        + "\(mebibytes(narrowest.bytes)). To go on: raise that limit, or \(remedy)")
  }
}
