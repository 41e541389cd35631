import Glibc

/// Messages from any thread to any other, first in, first out, with a waiting receiver.
///
///     mailbox.put(result)                      // any thread
///     let result = mailbox.take(within: .seconds(1))
///
/// `@unchecked Sendable`: `elements` and `isClosed` are touched only while `mutex` is held. (A pthread mutex, because the
/// standard library's has no condition variable.)
public final class Mailbox<Element: Sendable>: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var elements: [Element] = []
  private var head = 0
  private var isClosed = false

  public init() {
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  public var count: Int { locked { elements.count - head } }

  public func put(_ element: Element) {
    locked {
      elements.append(element)
      pthread_cond_signal(condition)
    }
  }

  /// Nobody waits any longer; what is inside can still be taken.
  public func close() {
    locked {
      isClosed = true
      pthread_cond_broadcast(condition)
    }
  }

  /// The next element; `nil` when none came within `duration` or the mailbox is closed and empty.
  public func take(within duration: Duration = .zero) -> Element? {
    var deadline = timespec()
    clock_gettime(CLOCK_MONOTONIC, &deadline)
    let milliseconds = Int(duration.wholeMilliseconds)
    deadline.tv_sec += milliseconds / 1000
    deadline.tv_nsec += milliseconds % 1000 * 1_000_000
    if deadline.tv_nsec >= 1_000_000_000 {
      deadline.tv_sec += 1
      deadline.tv_nsec -= 1_000_000_000
    }
    return locked {
      while head == elements.count, !isClosed, milliseconds > 0 {
        if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { break }
      }
      guard head < elements.count else { return nil }
      let element = elements[head]
      head += 1
      if head == elements.count || head > 1024 {
        elements.removeFirst(head)
        head = 0
      }
      return element
    }
  }

  public func takeAll() -> [Element] {
    locked {
      let all = Array(elements[head...])
      elements.removeAll()
      head = 0
      return all
    }
  }

  /// Takes out the elements that match, in order.
  public func remove(where matches: (Element) -> Bool) -> [Element] {
    locked {
      let rest = elements[head...]
      let removed = rest.filter(matches)
      if !removed.isEmpty {
        elements = rest.filter { !matches($0) }
        head = 0
      }
      return removed
    }
  }

  private func locked<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }
}
