import CMemoryShortage

/// The end of a process that the system refuses memory. There is nothing to catch: whoever needs memory in the midst of a
/// computation cannot go on without it, and a trap would not say what was short.
public enum MemoryShortage {
  /// How such a process ends, for the one that started it.
  public static let exitStatus = Int32(SOFTGRPO_MEMORY_SHORTAGE_STATUS)

  /// Says who runs and what helps it. Call once, before threads are started.
  /// - Parameters:
  ///   - role: "softgrpo worker local-0".
  ///   - remedies: what the user can change, as a clause: "lower --slots, …".
  public static func install(role: String, remedies: String) { softgrpo_memory_shortage_install(role, remedies) }

  /// Ends the process with an error that names the role, the bytes, the limits in force and the remedies.
  /// - Parameter purpose: what the memory is for: "weights".
  public static func end(bytes: Int, for purpose: String) -> Never {
    softgrpo_memory_shortage_end(max(0, bytes), purpose)
  }

  /// As `end` for thread `index` of `count`, which the system refused with the error `code`.
  package static func endWithoutThread(_ index: Int, of count: Int, code: Int32) -> Never {
    softgrpo_thread_shortage_end(Int32(truncatingIfNeeded: index), Int32(truncatingIfNeeded: count), code)
  }

  /// Bytes that limits of the address space or of data (`ulimit -v`, `ulimit -d`) leave; nil without a limit.
  public static var addressSpaceLeft: Int? {
    // Without a limit the largest of C's sizes, which Swift reads as -1.
    let left = softgrpo_address_space_left()
    return left < 0 ? nil : left
  }

  /// Whether `bytes` can be mapped now.
  package static func canMap(_ bytes: Int) -> Bool { softgrpo_can_map(max(1, bytes)) != 0 }
}
