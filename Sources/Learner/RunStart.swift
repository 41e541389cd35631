import Foundation
import JSON
import Observability
import Sessions

/// Where a run begins.
public enum RunStart: Sendable {
  /// At its beginning, in a folder without a run.
  case new
  /// From a checkpoint of its own folder; nil: the newest one. What followed an earlier one is removed.
  case resume(step: Int? = nil)
  /// From a checkpoint of another run, which stays as it is, in a folder without a run; nil: the newest one.
  case fork(RunDirectory, step: Int?)

  /// Whether something was done before.
  var continues: Bool { if case .new = self { false } else { true } }

  /// The step that was asked for.
  var step: Int? {
    switch self {
    case .new: nil
    case .resume(let step), .fork(_, let step): step
    }
  }

  /// The folder whose checkpoint is read; nil: none is.
  func origin(_ directory: RunDirectory) -> RunDirectory? {
    switch self {
    case .new: nil
    case .resume: directory
    case .fork(let origin, _): origin
    }
  }

  /// - Parameter directory: the run's own folder.
  /// - Throws: `RoleError` when the folder is not such that the run can begin in it so.
  func check(_ directory: RunDirectory) throws {
    switch self {
    case .new, .fork:
      if case .fork(let origin, _) = self {
        guard origin.exists else {
          throw RoleError("\(origin.path): holds no run to fork; name the folder with its config.yaml")
        }
        guard !origin.checkpointSteps().isEmpty else {
          throw RoleError("\(origin.path): keeps no checkpoint to go on from")
        }
        if directory.isUnfinishedFork { return }
      }
      if directory.hasSteps {
        throw RoleError(
          "\(directory.path): holds a run that has begun: continue it with --resume, or give the new one another run.name "
            + "or run.directory")
      }
    case .resume:
      guard directory.exists else {
        throw RoleError("\(directory.path): holds no run to resume; leave --resume away to start one")
      }
      // Without its checkpoint it would begin at step 0.
      if directory.isUnfinishedFork {
        throw RoleError("\(directory.path): its fork was interrupted; give the same --fork again")
      }
    }
  }
}

// What a start from an earlier step or from another run makes of the folder.
extension RunDirectory {
  private var forkNotePath: String { path + "/forked-from.json" }

  /// Whether a fork was interrupted before its folder was complete.
  var isUnfinishedFork: Bool { FileManager.default.fileExists(atPath: forkNotePath) && checkpointSteps().isEmpty }

  /// "2, 4 and 6"; of a long list the ends.
  static func list(_ steps: [Int]) -> String {
    if steps.count > 12 {
      return steps.prefix(4).map(String.init).joined(separator: ", ") + ", …, " + list(Array(steps.suffix(4)))
    }
    guard let last = steps.last, steps.count > 1 else { return steps.map(String.init).joined() }
    return steps.dropLast().map(String.init).joined(separator: ", ") + " and \(last)"
  }

  /// Removes the checkpoints of later steps, and the best model where it is of one: a run that goes on from `step` makes them again.
  ///
  /// - Returns: the steps whose checkpoints are removed.
  /// - Throws: `RoleError` when one cannot be removed.
  func discardCheckpoints(after step: Int) throws -> [Int] {
    let later = checkpointSteps().filter { $0 > step }
    // The newest first: a start that is interrupted here leaves a run that goes on from what is left.
    for step in later.reversed() {
      // A directory alone is no checkpoint, and its state is removed with the next one that is written.
      for suffix in ["", ".state", ".adapter"] { try remove(checkpointPath(step: step) + suffix) }
    }
    if let best = bestStep, best > step { try remove(bestPath) }
    return later
  }

  private func remove(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw RoleError("\(path): cannot be removed: \(error.localizedDescription)")
    }
  }

  /// The step of the best model; nil: none is kept.
  private var bestStep: Int? {
    FileManager.default.contents(atPath: bestPath + "/best.json")
      .flatMap { try? JSONValue(parsing: Array($0)) }?["step"]?.integerValue
  }

  /// Copies what a fork needs of the other run beside its checkpoint: its records, which are cut after `step` as those of any run
  /// that goes on are, and the models that later steps refer to. Samples and event files stay where they are.
  ///
  /// - Throws: `RoleError` when something cannot be copied.
  func copyHistory(of origin: RunDirectory, upTo step: Int) throws {
    let note = JSONValue.members([
      "run": .string(URL(fileURLWithPath: origin.path).standardizedFileURL.path), "step": .integer(step),
    ])
    do { try Data((note.encoded() + "\n").utf8).write(to: URL(fileURLWithPath: forkNotePath), options: .atomic) } catch
    {
      throw RoleError("\(forkNotePath): cannot be written: \(error.localizedDescription)")
    }
    var copies = [
      (origin.supervisedPath, supervisedPath), (origin.metricsPath, metricsPath), (origin.warningsPath, warningsPath),
      (origin.evaluationsPath, evaluationsPath),
    ]
    if let best = origin.bestStep, best <= step { copies.append((origin.bestPath, bestPath)) }
    for (source, target) in copies where FileManager.default.fileExists(atPath: source) {
      try remove(target)
      do { try FileManager.default.copyItem(atPath: source, toPath: target) } catch {
        throw RoleError("\(source): cannot be copied to \(target): \(error.localizedDescription)")
      }
    }
  }
}
