/// The speed of a machine that is emulated: work is stretched until it takes as long as it would there (`PaceKeeper`). What
/// is nil is as fast as this machine.
public struct Pace: Sendable, Equatable {
  /// Tokens that a worker samples in a second, all its sequences together.
  public var tokensPerSecond: Double?
  /// A decode step of fewer sequences than this takes longer than its share: `fixedShare` of the time of a full one does not
  /// depend on their number, as where reading the weights takes most of it.
  public var fullBatch = 0
  /// 0 ... 1.
  public var fixedShare = 0.0
  /// Rows of a gradient's passes that a worker or the learner computes in a second.
  public var rowsPerSecond: Double?

  public init(tokensPerSecond: Double? = nil, rowsPerSecond: Double? = nil) {
    self.tokensPerSecond = tokensPerSecond
    self.rowsPerSecond = rowsPerSecond
  }

  /// Tokens of a full batch that take as long as a step of `count` sequences.
  public func effectiveTokens(_ count: Int) -> Double {
    guard count > 0, count < fullBatch else { return Double(count) }
    return fixedShare * Double(fullBatch) + (1 - fixedShare) * Double(count)
  }
}

/// Holds one thread to a stated speed: after a piece of work it says until when the thread must sleep, so that the work took
/// `amount / rate` seconds. A processor is thereby emulated that is slower and one's own, without using this one.
///
/// Only work is emulated. What happens between two pieces (messages, new weights, waiting) takes the time that it takes here.
/// A piece that ends late, because the machine was busy or the sleep too long, leaves arrears that the next piece makes up,
/// so that the rate holds over many; a wait ends them, since an own processor would have begun that wait sooner.
///
///     let due = keeper.due(afterWork: tokens, at: rate, began: began)
///     …sleep until due…
///     keeper.ended(at: clock.now)
public struct PaceKeeper: Sendable, Equatable {
  /// By how much the last piece ended later than it should have; made up by the next.
  public private(set) var arrears: Duration = .zero
  /// What all pieces should have taken.
  public private(set) var stated: Duration = .zero
  /// Arrears that were never made up.
  public private(set) var lost: Duration = .zero
  private var end: Duration?

  public init() {}

  /// When a piece of work should be over that began at `began` and would take `amount / rate` seconds.
  ///
  /// - Parameters:
  ///   - rate: amount a second, above 0.
  ///   - began: when it began here; never before the end of the piece before it.
  public mutating func due(afterWork amount: Double, at rate: Double, began: Duration) -> Duration {
    let time = Duration.seconds(max(0, amount) / max(rate, 1e-9))
    stated += time
    let due = began - arrears + time
    end = due
    return due
  }

  /// The thread goes on now, after work and sleep.
  public mutating func ended(at now: Duration) {
    guard let due = end else { return }
    end = nil
    arrears = max(.zero, now - due)
  }

  /// The thread waits for something to do.
  public mutating func rested() {
    lost += arrears
    arrears = .zero
  }

  /// Time that the emulated machine did not get, as a share of its work.
  public var shortfall: Double {
    stated > .zero ? (lost + arrears) / stated : 0
  }
}
