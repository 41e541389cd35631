import Foundation
import Testing

@testable import Machine

@Suite struct ControlGroupTests {
  /// The group that a file system of these files describes.
  private func group(_ files: [String: String]) throws -> ControlGroup {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("cgroup-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: root) }
    for (path, text) in files {
      let file = root.appendingPathComponent(path)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try (text + "\n").write(to: file, atomically: false, encoding: .utf8)
    }
    return ControlGroup(root: root.path + "/")
  }

  @Test func nothingIsNoLimit() throws {
    let group = try group([:])
    #expect(group.processors == nil)
    #expect(group.memory == nil)
  }

  @Test func aContainerSeesItsGroupAtTheRoot() throws {
    let group = try group([
      "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000", "sys/fs/cgroup/memory.max": "2147483648",
    ])
    #expect(group.processors == 1.5)
    #expect(group.memory == 2_147_483_648)
  }

  @Test func theNarrowestLimitOnTheWayUpCounts() throws {
    let group = try group([
      "proc/self/cgroup": "0::/system.slice/softgrpo-worker@a.service",
      "sys/fs/cgroup/system.slice/cpu.max": "200000 100000",
      "sys/fs/cgroup/system.slice/memory.max": "max",
      "sys/fs/cgroup/system.slice/softgrpo-worker@a.service/cpu.max": "max 100000",
      "sys/fs/cgroup/system.slice/softgrpo-worker@a.service/memory.max": "1000000",
      "sys/fs/cgroup/other.slice/cpu.max": "1000 100000",
    ])
    #expect(group.processors == 2)
    #expect(group.memory == 1_000_000)
  }

  @Test func theFirstGenerationIsReadToo() throws {
    let files = [
      "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/docker/abc",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    ]
    // On the host, and in a container, which has its own group at the root of the mount.
    for folder in ["sys/fs/cgroup/cpu,cpuacct/docker/abc/", "sys/fs/cgroup/cpu,cpuacct/", "sys/fs/cgroup/cpu/"] {
      let limited = [folder + "cpu.cfs_quota_us": "800000", folder + "cpu.cfs_period_us": "100000"]
      let group = try group(files.merging(limited) { first, _ in first })
      #expect(group.processors == 8)
      #expect(group.memory == nil)
      let unlimited = limited.mapValues { $0 == "800000" ? "-1" : $0 }
      #expect(try self.group(files.merging(unlimited) { first, _ in first }).processors == nil)
    }
  }
}
