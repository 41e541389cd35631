import Kernels
import Synchronization
import Testing

struct ThreadTeamTests {
  @Test(arguments: [-1, 0, 1, 2, 3, 8])
  func everyTaskRunsOnce(_ threads: Int) {
    let team = ThreadTeam(threadCount: threads)
    #expect(team.threadCount == max(1, threads))
    for count in [0, 1, 2, 3, 7, 100, 1000] {
      var seen = [Int](repeating: 0, count: count)
      seen.withUnsafeMutableBufferPointer { seen in
        nonisolated(unsafe) let seen = seen
        team.run(count) { task, thread in
          seen[task] += 1
          if !(0..<team.threadCount).contains(thread) { seen[task] += 100 }
        }
      }
      #expect(seen.allSatisfy { $0 == 1 })
    }
  }

  /// Short loops back to back, with pauses long enough for the members to fall asleep now and then.
  @Test(arguments: [2, 3])
  func tenThousandRunsComeBack(_ threads: Int) {
    let team = ThreadTeam(threadCount: threads)
    let total = Atomic<Int>(0)
    var expected = 0
    for run in 0..<10_000 {
      let count = 1 + run % 5
      team.run(count) { task, _ in total.add(task + 1, ordering: .relaxed) }
      expected += count * (count + 1) / 2
      if run % 500 == 0 { for _ in 0..<200_000 { _ = total.load(ordering: .relaxed) } }
    }
    #expect(total.load(ordering: .relaxed) == expected)
  }

  /// What a run wrote is visible to the caller and to the next run.
  @Test func runsAreOrdered() {
    let team = ThreadTeam(threadCount: 3)
    var values = [Int](repeating: 1, count: 500)
    values.withUnsafeMutableBufferPointer { values in
      nonisolated(unsafe) let values = values
      for _ in 0..<20 {
        team.run(500) { task, _ in values[task] += 1 }
        // Each task reads its mirror image, which another thread may have written in the run before.
        team.run(250) { task, _ in swap(&values[task], &values[499 - task]) }
      }
    }
    #expect(values.allSatisfy { $0 == 21 })
  }

  @Test func teamsOfDifferentOwnersNest() {
    let (outer, inner) = (ThreadTeam(threadCount: 2), (0..<4).map { _ in ThreadTeam(threadCount: 2) })
    let total = Atomic<Int>(0)
    for _ in 0..<200 {
      outer.run(4) { task, _ in
        inner[task].run(8) { _, _ in total.add(1, ordering: .relaxed) }
      }
    }
    #expect(total.load(ordering: .relaxed) == 200 * 32)
  }

  @Test func rangesPartitionTheCount() {
    let team = ThreadTeam(threadCount: 3)
    for (count, grain) in [(0, 4), (1, 4), (10, 4), (12, 4), (100, 1), (5, 0), (7, 1000)] {
      var seen = [Int](repeating: 0, count: count)
      seen.withUnsafeMutableBufferPointer { seen in
        nonisolated(unsafe) let seen = seen
        team.forEachRange(count, grain: grain) { range, _ in
          for index in range { seen[index] += range.count <= max(1, grain) ? 1 : 100 }
        }
      }
      #expect(seen.allSatisfy { $0 == 1 })
    }
  }

  @Test func manyTeamsComeAndGo() {
    for threads in 1...4 {
      for _ in 0..<50 {
        let total = Atomic<Int>(0)
        ThreadTeam(threadCount: threads).run(9) { task, _ in total.add(task, ordering: .relaxed) }
        #expect(total.load(ordering: .relaxed) == 36)
      }
    }
  }
}
