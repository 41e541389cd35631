import Testing

@testable import Machine

@Suite struct MemoryLimitsTests {
  private func message(_ bytes: Int, _ limits: MemoryLimits) -> String {
    do {
      try MemoryError.check(bytes: bytes, for: "weights", remedy: "use a smaller model", limits: limits)
      return ""
    } catch { return error.message }
  }

  @Test func theNarrowestLimitIsNamed() {
    let limits = MemoryLimits(addressSpace: 3 << 30, controlGroup: 2 << 30, machine: 4 << 30)
    #expect(message(2 << 30, limits).isEmpty)
    let short = message(2 << 30 + 1, limits)
    for part in ["weights", "\(2 << 30 + 1) bytes", "control group", "2048 MiB", "use a smaller model"] {
      #expect(short.contains(part), "\(short)")
    }
    #expect(message(5 << 30, MemoryLimits(machine: 4 << 30)).contains("this machine has"))
    #expect(message(5 << 30, MemoryLimits(addressSpace: 4 << 30)).contains("ulimit -v"))
  }

  @Test func withoutLimitsEverythingIsTried() { #expect(message(.max, MemoryLimits()).isEmpty) }

  @Test func thisMachineHasSomeMemory() {
    #expect(MemoryLimits.current.machine.map { $0 > 1 << 26 } == true)
    #expect(MemoryLimits.current.addressSpace.map { $0 > 0 } ?? true)
    #expect(MemoryShortage.canMap(1 << 20) && !MemoryShortage.canMap(1 << 60))
  }
}
