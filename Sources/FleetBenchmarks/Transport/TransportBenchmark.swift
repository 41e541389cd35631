import Foundation
import Logging
import Sessions
import Thinking
import Trajectories
import Transport
import WeightSync
import Wire

/// Synthetic workers against the learner's real front end, all on this machine: what the front end takes, and what it costs.
///
/// The workers' side and the trainer that submits groups and takes them share the processor with it, so a rate is what the
/// machine carries with everything on it; the processor time of the front end's own threads is measured apart.
public struct TransportBenchmark: Sendable {
  public struct Settings: Sendable, Encodable {
    public var workers = [1, 10, 100, 1000]
    /// Relays between the learner and the workers, one number after another; 0: the workers attach to the learner.
    public var relays = [0]
    /// `none`, `curve`.
    public var security = ["none", "curve"]
    /// Seconds of each measurement.
    public var seconds = 2.0
    /// Soft steps of a trajectory.
    public var steps = 200
    /// Components of a step.
    public var topK = 5
    /// Samples that a worker holds at once when it answers as fast as it can.
    public var credits = 4
    /// Trajectories a second of one worker in the run at a realistic load.
    public var rate = 1.0
    /// Bytes of a version in the measurement of broadcasts.
    public var broadcastByteCount = 512 << 10
    /// Threads that the synthetic workers live on.
    public var threads = 1

    public init() {}
  }

  /// One number of workers under one kind of security.
  public struct Result: Sendable, Encodable {
    public var workers: Int
    public var relays: Int
    public var security: String
    /// Seconds from the first worker's connection to the last one's welcome.
    public var joinSeconds: Double
    // As fast as it goes.
    public var trajectoriesPerSecond: Double
    public var megabytesPerSecond: Double
    /// Of the learner's I/O thread.
    public var microsecondsPerTrajectory: Double
    /// Of libzmq's thread in the learner.
    public var libraryMicrosecondsPerTrajectory: Double
    /// Share of the loopback's rate for messages of this size.
    public var fractionOfLoopback: Double
    // At `rate` trajectories a second and worker.
    public var realisticTrajectoriesPerSecond: Double
    /// Share of one core that the learner's I/O thread takes.
    public var realisticCoreShare: Double
    /// The same for libzmq's thread in the learner.
    public var realisticLibraryCoreShare: Double
    /// Milliseconds from a publication to its arrival at a worker.
    public var announcementMedianMilliseconds: Double
    public var announcementSlowestMilliseconds: Double
    /// Of all relays' threads together, libzmq's included, as fast as it goes.
    public var relayMicrosecondsPerTrajectory: Double
    // A version of `broadcastByteCount` bytes, from its publication until workers have it; medians over versions.
    /// Bytes of weights that the learner sends.
    public var broadcastLearnerByteCount: Int
    /// Of the learner's I/O thread and libzmq's thread in it.
    public var broadcastLearnerProcessorMilliseconds: Double
    public var broadcastMedianMilliseconds: Double
    public var broadcastSlowestMilliseconds: Double
    // What must be zero.
    public var lostTrajectories: Int
    public var lostSessions: Int
    public var repeatedResults: Int
  }

  public struct Report: Sendable, Encodable {
    public var settings: Settings
    public var trajectoryBytes: Int
    public var fileDescriptorLimit: Int
    /// Megabytes a second of messages of a trajectory's size through one PUSH and one PULL over loopback.
    public var loopbackMegabytesPerSecond: [String: Double]
    public var results: [Result]
  }

  /// Versions of this size are announced and not fetched.
  static let announcedByteCount = 4096

  let settings: Settings
  let logger: Logger

  /// - Throws: `RoleError` for settings that cannot be measured, among them more workers than this process may have sockets.
  public init(_ settings: Settings, logger: Logger) throws {
    self.settings = settings
    self.logger = logger
    for security in settings.security where !["none", "curve"].contains(security) {
      throw RoleError("--security: must be none or curve, got \(security)")
    }
    // Both ends of two connections each, and an event descriptor per socket.
    let needed = (settings.workers.max() ?? 0) * 7 + (settings.relays.max() ?? 0) * 40 + 100
    let limit = FileDescriptorLimit.raise()
    guard needed <= limit else {
      throw RoleError(
        "\(settings.workers.max() ?? 0) workers in one process need \(needed) open files, and the limit is \(limit): raise it "
          + "(ulimit -n \(needed), or LimitNOFILE in a unit), or measure fewer")
    }
  }

  public func run(progress: (String) -> Void) throws -> Report {
    let segments = Self.segments(steps: settings.steps, topK: settings.topK)
    let byteCount = try Envelope(
      session: 1,
      .trajectoryResult(
        TrajectoryResult(
          leaseID: 1, groupOrdinal: 1, sampleIndex: 0, policyVersion: 0, segments: segments, finishReason: .stop))
    ).encoded().reduce(0) { $0 + $1.count }
    var loopback: [String: Double] = [:]
    for security in settings.security {
      progress("loopback, \(security)")
      loopback[security] = try Loopback.megabytesPerSecond(
        messageBytes: byteCount, isSecure: security == "curve", seconds: min(1, settings.seconds))
    }
    var results: [Result] = []
    for security in settings.security {
      for workers in settings.workers {
        for relays in settings.relays where relays <= workers {
          progress("\(workers) workers\(relays > 0 ? ", \(relays) relays" : ""), \(security)")
          results.append(try measure(workers, relays, security, segments, loopback: loopback[security]!))
        }
      }
    }
    return Report(
      settings: settings, trajectoryBytes: byteCount, fileDescriptorLimit: FileDescriptorLimit.raise(),
      loopbackMegabytesPerSecond: loopback, results: results)
  }

  /// A trajectory as workers record them: soft steps, a forced end, an answer.
  static func segments(steps: Int, topK: Int) -> [Segment] {
    var state: UInt64 = 88_172_645_463_325_252
    func next(_ bound: UInt64) -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state % bound
    }
    func measures() -> StepMeasures {
      StepMeasures(entropy: Float(next(2000)) * 1e-3, largestProbability: Float(1 + next(1000)) * 1e-3)
    }
    var soft = SoftSegment()
    for _ in 0..<steps {
      let first = Int32(next(1000))
      soft.tokenIDs.append((0..<topK).map { (first + 7 * Int32($0)) % 1000 })
      soft.values.append((0..<topK).map { -Float($0) - Float(next(1000)) * 1e-3 })
      soft.logProbs.append(-Float(next(5000)) * 1e-3)
      soft.streams.append(measures())
    }
    let tokens = (0..<10).map { _ in Int32(next(1000)) }
    var answer = DiscreteSegment(tokenIDs: tokens, logProbs: tokens.map { _ in -0.5 })
    for _ in tokens { answer.streams.append(measures()) }
    return [.soft(soft), .forced([1, 2]), .discrete(answer)]
  }
}
