import CVectorKernels
import Machine
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A fixed set of threads that share one loop at a time. The caller is thread 0 and takes part.
///
/// Idle threads spin briefly, then sleep on a condition, so that several teams (or processes) may share cores.
/// A team belongs to one caller at a time; `run` is not re-entrant. Both are checked: a loop that two callers share would
/// lose tasks in silence.
public final class ThreadTeam: @unchecked Sendable {
  // Unchecked: `body` and `taskCount` are written by the caller before `generation` is released and read by the
  // members after they acquire it; the caller waits for `remaining` to reach zero before it returns.
  public let threadCount: Int

  private var body: ((_ task: Int, _ thread: Int) -> Void)?
  private var taskCount = 0
  private let generation = Atomic<Int>(0)
  private let nextTask = Atomic<Int>(0)
  private let remaining = Atomic<Int>(0)
  private let sleeping = Atomic<Int>(0)
  private let isRunning = Atomic<Bool>(false)
  private let stopping = Atomic<Bool>(false)
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var threads: [pthread_t] = []
  private let spinLimit: Int

  /// - Parameter threadCount: threads including the caller; at least 1.
  public init(threadCount: Int) {
    self.threadCount = max(1, threadCount)
    // Spinning pays only while every thread has a processor of its own. The limit is some 20 to 50 µs: longer than what one
    // thread does alone between two loops of a decode step, shorter than sleeping and being woken.
    spinLimit = threadCount <= sysconf(Int32(_SC_NPROCESSORS_ONLN)) ? 1000 : 0
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
    for index in 1..<max(self.threadCount, 1) where self.threadCount > 1 {
      let start = Unmanaged.passRetained(MemberStart(team: Unmanaged.passUnretained(self), index: index))
      var thread = pthread_t()
      let status = pthread_create(
        &thread, nil,
        { argument in
          let start = Unmanaged<MemberStart>.fromOpaque(argument!).takeRetainedValue()
          // The team joins its members in deinit, so the unretained reference outlives them.
          start.team._withUnsafeGuaranteedRef { $0.serve(index: start.index) }
          return nil
        }, start.toOpaque())
      if status != 0 { MemoryShortage.endWithoutThread(index, of: threadCount, code: status) }
      threads.append(thread)
    }
  }

  deinit {
    stopping.store(true, ordering: .sequentiallyConsistent)
    pthread_mutex_lock(mutex)
    generation.add(1, ordering: .sequentiallyConsistent)
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
    for thread in threads { pthread_join(thread, nil) }
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(condition)
    mutex.deallocate()
    condition.deallocate()
  }

  /// Calls `body(task, thread)` once for every task in `0..<count`; returns when all are done.
  /// Which thread takes a task is not fixed, so results must not depend on it.
  public func run(_ count: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
    if threadCount == 1 || count <= 1 {
      for task in 0..<count { body(task, 0) }
      return
    }
    precondition(
      !isRunning.exchange(true, ordering: .acquiring), "a thread team was used by two callers, or from its own loop")
    defer { isRunning.store(false, ordering: .releasing) }
    withoutActuallyEscaping(body) { body in
      self.body = body
      taskCount = count
      nextTask.store(0, ordering: .relaxed)
      remaining.store(threadCount - 1, ordering: .relaxed)
      generation.add(1, ordering: .sequentiallyConsistent)
      if sleeping.load(ordering: .sequentiallyConsistent) > 0 {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
      }
      takeTasks(thread: 0, body: body)
      var spins = 0
      while remaining.load(ordering: .acquiring) > 0 {
        spins += 1
        if spins > spinLimit { sched_yield() } else { softgrpo_pause() }
      }
      self.body = nil
    }
  }

  /// Splits `count` items into runs of `grain` and calls `body(range, thread)` for each.
  public func forEachRange(_ count: Int, grain: Int, _ body: (_ range: Range<Int>, _ thread: Int) -> Void) {
    let grain = max(1, grain)
    run((count + grain - 1) / grain) { task, thread in
      body(task * grain..<min(count, (task + 1) * grain), thread)
    }
  }

  private func takeTasks(thread: Int, body: (Int, Int) -> Void) {
    while true {
      let task = nextTask.add(1, ordering: .relaxed).oldValue
      if task >= taskCount { return }
      body(task, thread)
    }
  }

  private func serve(index: Int) {
    var seen = 0
    while true {
      var spins = 0
      while generation.load(ordering: .acquiring) == seen {
        spins += 1
        softgrpo_pause()
        if spins > spinLimit {
          pthread_mutex_lock(mutex)
          sleeping.add(1, ordering: .sequentiallyConsistent)
          while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(condition, mutex) }
          sleeping.subtract(1, ordering: .sequentiallyConsistent)
          pthread_mutex_unlock(mutex)
        }
      }
      seen += 1
      if stopping.load(ordering: .sequentiallyConsistent) { return }
      if let body { takeTasks(thread: index, body: body) }
      remaining.subtract(1, ordering: .acquiringAndReleasing)
    }
  }
}

private final class MemberStart {
  let team: Unmanaged<ThreadTeam>
  let index: Int
  init(team: Unmanaged<ThreadTeam>, index: Int) {
    self.team = team
    self.index = index
  }
}
