/// A clock that stands still until it is told to go on: drives the coordination state machines in tests.
public struct ManualClock: Sendable {
  public private(set) var now: Duration = .zero

  public init() {}

  public mutating func advance(by duration: Duration) { now += duration }
}
