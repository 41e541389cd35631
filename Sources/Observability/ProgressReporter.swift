/// Shows how far a long operation is: one line rewritten in place on a terminal, a plain line at intervals in a log.
public struct ProgressReporter: Sendable {
  private let label: String
  private let total: Int
  private let unit: String
  private let interval: Double
  private let console: Console
  private let earlier: Int
  private var rate: RateEstimator
  private var lastLine: Double?
  private var started: Double?

  /// - Parameters:
  ///   - total: units of the whole; 0 when not known.
  ///   - earlier: units that were done before this operation began, by a run that it continues; they count as completed.
  ///   - interval: seconds between two plain lines where there is no terminal.
  public init(
    label: String, total: Int, unit: String = "step", earlier: Int = 0, interval: Double = 30, window: Int = 32,
    console: Console = .standardError
  ) {
    self.label = label
    self.total = total
    self.unit = unit
    self.earlier = earlier
    self.interval = interval
    self.console = console
    rate = RateEstimator(window: window)
  }

  /// Notes that the operation begins: the time of its first unit counts, which may be all there is.
  public mutating func begin(at now: Double) {
    started = now
    rate.note(count: Double(earlier), at: now)
  }

  /// Notes that `completed` units are done at `now`, in seconds of any steady clock.
  /// - Parameters:
  ///   - detail: what else to show, such as "reward 0.52".
  ///   - isSaid: the caller writes a line of its own about it; in a log the next plain line comes an interval after it.
  public mutating func update(completed: Int, at now: Double, detail: String = "", isSaid: Bool = false) {
    if started == nil { started = now }
    rate.note(count: Double(completed), at: now)
    let text = line(completed, detail)
    if console.isTerminal {
      console.setStatus(text)
    } else if isSaid {
      lastLine = now
    } else if lastLine.map({ now - $0 >= interval }) ?? true {
      lastLine = now
      console.writeLine(text)
    }
  }

  /// Until all units are done, at the present rate; nil: not known.
  public var secondsLeft: Double? { total > 0 ? rate.secondsUntil(Double(total)) : nil }

  /// Removes the updating line and leaves one plain line with the whole duration.
  public mutating func finish(completed: Int, at now: Double, detail: String = "") {
    console.setStatus("")
    let seconds = started.map { max(0, now - $0) } ?? 0
    let own = completed - earlier
    var text = "\(label): \(own) \(unit)\(own == 1 ? "" : "s") in \(formatDuration(seconds))"
    if earlier > 0 { text += ", \(completed) in all" }
    if !detail.isEmpty { text += ", \(detail)" }
    console.writeLine(text)
  }

  private func line(_ completed: Int, _ detail: String) -> String {
    var text = label + ": \(completed)"
    if total > 0 {
      // Whole percents, rounded down: 100 % means done.
      text += "/\(total) (\(min(100, Int(Double(completed) / Double(total) * 100))) %)"
    }
    if let perSecond = rate.perSecond, perSecond > 0 {
      text +=
        perSecond >= 1 ? ", \(formatFixed(perSecond, 1)) \(unit)s/s" : ", \(formatFixed(1 / perSecond, 1)) s/\(unit)"
    }
    if total > completed, let seconds = rate.secondsUntil(Double(total)) { text += ", \(formatDuration(seconds)) left" }
    return detail.isEmpty ? text : text + ", " + detail
  }
}
