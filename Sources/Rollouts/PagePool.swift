import Kernels

/// Which key/value pages are in use. A page is shared by the samples of a prompt and freed with its last user.
struct PagePool {
  private var free: [Int32]
  private var users: [Int32]

  init(pages: Int) {
    free = (0..<Int32(pages)).reversed()
    users = [Int32](repeating: 0, count: pages)
  }

  /// - Precondition: a page is free; admission keeps enough of them.
  mutating func take() -> Int32 {
    guard let page = free.popLast() else { preconditionFailure("the page pool is exhausted") }
    users[Int(page)] = 1
    return page
  }

  mutating func share(_ page: Int32) { users[Int(page)] += 1 }

  mutating func release(_ pages: some Sequence<Int32>) {
    for page in pages {
      users[Int(page)] -= 1
      if users[Int(page)] == 0 { free.append(page) }
    }
  }
}
