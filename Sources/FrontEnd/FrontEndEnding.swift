/// How far the end of a front end has come: announced to the workers, then finished, by itself or by a fault.
struct FrontEndEnding: Sendable {
  /// What the workers were told; nil: the run goes on.
  private(set) var announced: String?
  /// The I/O thread has ended, or is to end now.
  private(set) var isFinished = false
  /// Why the I/O thread has ended, when it was not asked to.
  private(set) var failure: String?

  /// - Returns: whether it is news.
  mutating func announce(_ reason: String) -> Bool {
    guard announced == nil else { return false }
    announced = reason
    return true
  }

  mutating func finish(failure: String? = nil) {
    if let failure { self.failure = failure }
    isFinished = true
  }
}
