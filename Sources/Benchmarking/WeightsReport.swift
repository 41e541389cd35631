import WeightSync

/// One step of the optimiser and its delta.
public struct WeightsRow: Sendable, Equatable, Encodable {
  /// Absent when the step was not taken here.
  public var learningRate: Double?
  public var step: Int
  /// Bytes of the whole version.
  public var weightBytes: Int
  /// Share of the weights whose bits changed.
  public var density: Double
  /// Absent when the delta is too large to be offered.
  public var deltaBytes: Int?
  /// Bits of the delta for each changed weight.
  public var bitsPerChange: Double?
  /// The learner hashes the new version.
  public var hash: ElapsedTime
  /// The learner compares two versions and writes the delta.
  public var encode: ElapsedTime
  /// A worker applies the delta to a copy and verifies its hash.
  public var apply: ElapsedTime?
  /// Both versions over the time of encoding.
  public var encodeGigabytesPerSecond: Double
  public var hashGigabytesPerSecond: Double

  init(
    learningRate: Double?, step: Int, weightBytes: Int, density: Double, deltaBytes: Int?, hash: ElapsedTime,
    encode: ElapsedTime, apply: ElapsedTime?
  ) {
    self.learningRate = learningRate
    self.step = step
    self.weightBytes = weightBytes
    self.density = density
    self.deltaBytes = deltaBytes
    self.hash = hash
    self.encode = encode
    self.apply = apply
    let changes = density * Double(weightBytes / 2)
    bitsPerChange = deltaBytes.map { changes > 0 ? Double($0) * 8 / changes : 0 }
    encodeGigabytesPerSecond = 2 * Double(weightBytes) / max(encode.seconds, 1e-9) / 1e9
    hashGigabytesPerSecond = Double(weightBytes) / max(hash.seconds, 1e-9) / 1e9
  }
}

/// Time from a version's publication until workers hold it.
public struct BroadcastRow: Sendable, Equatable, Encodable {
  public var learningRate: Double?
  public var workers: Int
  /// Relays between the learner and the workers, each below the one before.
  public var relays: Int
  /// Bytes that the learner sent.
  public var wireBytes: Int
  /// Seconds until the median worker, and the last one, held the version, verified.
  public var medianSeconds: Double
  public var lastSeconds: Double
  /// User and system time of the learner's and all workers' threads together.
  public var cpuSeconds: Double

  public init(
    learningRate: Double?, workers: Int, relays: Int = 0, wireBytes: Int, medianSeconds: Double, lastSeconds: Double,
    cpuSeconds: Double
  ) {
    self.learningRate = learningRate
    self.workers = workers
    self.relays = relays
    self.wireBytes = wireBytes
    self.medianSeconds = medianSeconds
    self.lastSeconds = lastSeconds
    self.cpuSeconds = cpuSeconds
  }
}

public struct WeightsReport: Sendable, Equatable, Encodable {
  public var model: ModelSummary
  public var machine: MachineLimits
  public var settings: WeightsBenchmark.Settings
  public var rows: [WeightsRow]
  public var broadcasts: [BroadcastRow]
  public var peakMemoryBytes: Int

  public init(
    model: BenchmarkModel, machine: MachineLimits, settings: WeightsBenchmark.Settings, rows: [WeightsRow],
    broadcasts: [BroadcastRow]
  ) {
    self.model = ModelSummary(model)
    self.machine = machine
    self.settings = settings
    self.rows = rows
    self.broadcasts = broadcasts
    peakMemoryBytes = ProcessUsage.peakBytes
  }
}
