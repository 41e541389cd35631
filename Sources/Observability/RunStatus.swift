import Foundation
import JSON

/// What a run does at a moment: `status.json` in its folder.
public struct RunStatus: Sendable, Equatable {
  public enum Phase: String, Sendable, CaseIterable {
    /// Samples are waited for.
    case sampling
    /// The weights are being updated.
    case updating
    case ended
  }

  public struct Worker: Sendable, Equatable {
    public var name: String
    public var leasedSamples: Int
    /// -1: none yet.
    public var heldVersion: Int
    public var tokensPerSecond: Double
    public var activeSlots: Int
    public var isDraining: Bool

    public init(
      name: String, leasedSamples: Int, heldVersion: Int, tokensPerSecond: Double, activeSlots: Int, isDraining: Bool
    ) {
      self.name = name
      self.leasedSamples = leasedSamples
      self.heldVersion = heldVersion
      self.tokensPerSecond = tokensPerSecond
      self.activeSlots = activeSlots
      self.isDraining = isDraining
    }
  }

  public var name: String
  /// The learner's.
  public var processID: Int
  /// Seconds since 1970: the start of the process, and this status.
  public var began: Double
  public var time: Double
  public var phase: Phase
  public var completedSteps: Int
  public var totalSteps: Int
  /// Groups of the step under way that are complete, and all of them.
  public var finishedGroups: Int
  public var groups: Int
  /// Of the weights that workers sample with.
  public var version: Int?
  public var queuedSamples: Int
  public var leasedSamples: Int
  public var lostSessions: Int
  public var workers: [Worker]
  /// Of the last step.
  public var metrics: [String: Double]

  public init(
    name: String, processID: Int, began: Double, time: Double, phase: Phase, completedSteps: Int, totalSteps: Int,
    finishedGroups: Int, groups: Int, version: Int?, queuedSamples: Int, leasedSamples: Int, lostSessions: Int,
    workers: [Worker], metrics: [String: Double]
  ) {
    self.name = name
    self.processID = processID
    self.began = began
    self.time = time
    self.phase = phase
    self.completedSteps = completedSteps
    self.totalSteps = totalSteps
    self.finishedGroups = finishedGroups
    self.groups = groups
    self.version = version
    self.queuedSamples = queuedSamples
    self.leasedSamples = leasedSamples
    self.lostSessions = lostSessions
    self.workers = workers
    self.metrics = metrics
  }

  public var json: JSONValue {
    var figures = JSONObject()
    for (name, value) in metrics.sorted(by: { $0.key < $1.key }) { figures[name] = .decimal(value) }
    return .members([
      "name": .string(name), "process": .integer(processID), "began": .decimal(began), "time": .decimal(time),
      "phase": .string(phase.rawValue), "completed_steps": .integer(completedSteps),
      "total_steps": .integer(totalSteps), "finished_groups": .integer(finishedGroups), "groups": .integer(groups),
      "version": version.map { .integer($0) } ?? .null, "queued_samples": .integer(queuedSamples),
      "leased_samples": .integer(leasedSamples), "lost_sessions": .integer(lostSessions),
      "workers": .array(
        workers.map {
          .members([
            "name": .string($0.name), "leased_samples": .integer($0.leasedSamples),
            "held_version": .integer($0.heldVersion), "tokens_per_second": .decimal($0.tokensPerSecond),
            "active_slots": .integer($0.activeSlots), "is_draining": .bool($0.isDraining),
          ])
        }),
      "metrics": .object(figures),
    ])
  }

  /// - Throws: `ObservabilityError` when there is no status or it cannot be read.
  public init(path: String) throws(ObservabilityError) {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ObservabilityError("\(path): cannot be read; is it the folder of a run that has begun?")
    }
    guard let json = try? JSONValue(parsing: Array(data)) else {
      throw ObservabilityError("\(path): is no run's status; it may be of another version of softgrpo")
    }
    try self.init(json: json, place: path)
  }

  /// - Parameter place: what messages call where it comes from.
  /// - Throws: `ObservabilityError` for what is no status.
  init(json: JSONValue, place: String) throws(ObservabilityError) {
    guard let name = json["name"]?.stringValue,
      let phase = json["phase"]?.stringValue.flatMap(Phase.init(rawValue:))
    else { throw ObservabilityError("\(place): is no run's status; it may be of another version of softgrpo") }
    func integer(_ key: String) -> Int { json[key]?.integerValue ?? 0 }
    func number(_ value: JSONValue?) -> Double { value?.doubleValue ?? 0 }
    var metrics: [String: Double] = [:]
    for (name, value) in json["metrics"]?.objectValue?.members ?? [] { metrics[name] = value.doubleValue ?? .nan }
    self.init(
      name: name, processID: integer("process"), began: number(json["began"]), time: number(json["time"]),
      phase: phase, completedSteps: integer("completed_steps"), totalSteps: integer("total_steps"),
      finishedGroups: integer("finished_groups"), groups: integer("groups"), version: json["version"]?.integerValue,
      queuedSamples: integer("queued_samples"), leasedSamples: integer("leased_samples"),
      lostSessions: integer("lost_sessions"),
      workers: (json["workers"]?.arrayValue ?? []).map {
        Worker(
          name: $0["name"]?.stringValue ?? "?", leasedSamples: $0["leased_samples"]?.integerValue ?? 0,
          heldVersion: $0["held_version"]?.integerValue ?? -1, tokensPerSecond: number($0["tokens_per_second"]),
          activeSlots: $0["active_slots"]?.integerValue ?? 0, isDraining: $0["is_draining"]?.boolValue ?? false)
      }, metrics: metrics)
  }

  /// As a person reads it.
  ///
  /// - Parameters:
  ///   - isRunning: whether a process holds the run's folder.
  ///   - warnings: the newest last.
  ///   - now: seconds since 1970.
  public func rendered(isRunning: Bool, warnings: [JSONValue], now: Double) -> String {
    let state =
      !isRunning
      ? (phase == .ended ? "has ended" : "is not running: it was stopped or died; --resume goes on")
      : phase == .updating
        ? "updates its weights" : phase == .ended ? "ends" : "samples: \(finishedGroups)/\(groups) groups"
    var text = "\(name): step \(completedSteps)/\(totalSteps) done, \(state)"
    text += isRunning ? ", for \(formatDuration(now - began)), process \(processID)\n" : "\n"
    text += "status of \(formatDuration(max(0, now - time))) ago\n"
    if !metrics.isEmpty {
      text +=
        StepLine(totalSteps: totalSteps).text(MetricsRecord(step: completedSteps, time: time, metrics: metrics)) + "\n"
    }
    if isRunning {
      text +=
        "\(workers.count) workers, \(leasedSamples) samples out, \(queuedSamples) wait, \(lostSessions) sessions lost"
      text += (version.map { ", version \($0)" } ?? "") + "\n"
      var table = Table(columns: [
        .init("worker", .left), .init("samples"), .init("slots"), .init("version"), .init("tokens/s"), .init("", .left),
      ])
      for worker in workers {
        // Six cells in a table of six columns.
        try? table.append([
          worker.name, "\(worker.leasedSamples)", "\(worker.activeSlots)",
          worker.heldVersion < 0 ? "-" : "\(worker.heldVersion)",
          formatFixed(worker.tokensPerSecond, 0), worker.isDraining ? "draining" : "",
        ])
      }
      if !workers.isEmpty { text += table.rendered() }
    }
    for warning in warnings.suffix(5) {
      text +=
        "warning, step \(warning["step"]?.integerValue ?? 0): \(warning["what"]?.stringValue ?? "") [\(warning["name"]?.stringValue ?? "")]\n"
    }
    return text
  }
}
