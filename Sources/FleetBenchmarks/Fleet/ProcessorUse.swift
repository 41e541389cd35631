import Foundation
import Kernels
import Machine
import Transport

/// How busy the processors were between two moments, by this process and by all.
struct ProcessorUse: Sendable {
  /// Above this share the machine is taken for the limit of whatever was measured on it.
  static let saturation = 0.9

  private var time: Duration
  private var own: Double
  /// Ticks that were not idle, and all; nil where /proc/stat is not to be read.
  private var machine: (busy: Double, all: Double)?

  /// Whether others on the machine are seen, too.
  var seesMachine: Bool { machine != nil }

  static var now: ProcessorUse {
    let statistics = try? String(contentsOfFile: "/proc/stat", encoding: .utf8)
    return ProcessorUse(
      time: MonotonicClock.now(), own: ThreadUsage.process,
      machine: statistics.flatMap { $0.split(separator: "\n").first }.flatMap { Self.ticks(String($0)) })
  }

  /// Of the line `cpu user nice system idle iowait irq softirq steal …`: guests are counted in user time.
  static func ticks(_ line: String) -> (busy: Double, all: Double)? {
    let fields = line.split(separator: " ")
    let numbers = fields.dropFirst().prefix(8).compactMap { Double($0) }
    guard fields.first == "cpu", numbers.count >= 5 else { return nil }
    let all = numbers.reduce(0, +)
    return (all - numbers[3] - numbers[4], all)
  }

  /// Of the processors that this process may use, by this process; and of the machine's, by everybody.
  func shares(until end: ProcessorUse) -> (own: Double, machine: Double) {
    let seconds = max(1e-9, (end.time - time).inSeconds)
    let own = (end.own - own) / seconds / Double(ProcessorFeatures.current.availableProcessors)
    guard let before = machine, let after = end.machine, after.all > before.all else { return (own, own) }
    return (own, max(own, (after.busy - before.busy) / (after.all - before.all)))
  }
}
