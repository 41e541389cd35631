import JSON

/// A run's metrics by step, at most so many points a curve: a run of 100,000 steps costs a browser and this process what a short one
/// does. A point is the mean of neighbouring steps; how many grows by doubling. Pure.
public struct Curves: Sendable {
  public static let pointLimit = 2048

  /// Of the same steps for every curve.
  private struct Bucket: Sendable {
    var lastStep: Int
    var count: Int
    /// Sum and number of the values of each metric, by its number.
    var sums: [Double]
    var counts: [Int]
  }

  private var reader = MetricsLineReader()
  private var buckets: [Bucket] = []
  /// Steps of a full bucket.
  private var width = 1
  private var lastStep = Int.min
  private let id: UInt32

  /// - Parameter id: differs between histories of a run that do not go on from each other.
  public init(id: UInt32 = 0) { self.id = id }

  /// While it stays the same, every point but the last one does.
  private var state: String { "\(id).\(width)" }

  public var names: [String] { reader.names }
  public var pointCount: Int { buckets.count }

  public mutating func append(_ record: MetricsRecord) {
    reader.take(record)
    append(step: record.step)
  }

  /// Takes a line of `metrics.jsonl`, without its end. What is no record is left out, and so is a step that is there already:
  /// it was made again after a kill.
  mutating func append(line: UnsafeRawBufferPointer) {
    if let step = reader.read(line) {
      append(step: step)
    } else if let record = try? MetricsRecord(line: Array(line), place: "") {
      append(record)
    }
  }

  /// Adds the reader's values.
  private mutating func append(step: Int) {
    guard step > lastStep else { return }
    lastStep = step
    if buckets.last.map({ $0.count >= width }) ?? true {
      if buckets.count >= Self.pointLimit { halve() }
      if buckets.last.map({ $0.count >= width }) ?? true {
        buckets.append(Bucket(lastStep: step, count: 0, sums: [], counts: []))
      }
    }
    let last = buckets.count - 1
    buckets[last].lastStep = step
    buckets[last].count += 1
    Self.widen(&buckets[last], to: (reader.values.lazy.map(\.metric).max() ?? -1) + 1)
    for (metric, value) in reader.values {
      buckets[last].sums[metric] += value
      buckets[last].counts[metric] += 1
    }
  }

  private static func widen(_ bucket: inout Bucket, to count: Int) {
    let missing = count - bucket.sums.count
    guard missing > 0 else { return }
    bucket.sums += Array(repeating: 0, count: missing)
    bucket.counts += Array(repeating: 0, count: missing)
  }

  /// Two neighbours become one.
  private mutating func halve() {
    var halved: [Bucket] = []
    for start in stride(from: 0, to: buckets.count, by: 2) {
      var bucket = buckets[start]
      if start + 1 < buckets.count {
        let next = buckets[start + 1]
        Self.widen(&bucket, to: next.sums.count)
        for place in next.sums.indices {
          bucket.sums[place] += next.sums[place]
          bucket.counts[place] += next.counts[place]
        }
        bucket.lastStep = next.lastStep
        bucket.count += next.count
      }
      halved.append(bucket)
    }
    buckets = halved
    width *= 2
  }

  /// `{"state": …, "from": step or null, "steps": […], "series": {name: [value or null, …]}}` of these metrics.
  ///
  /// - Parameter known: the state of an answer before, and a step of it with points after it: only what follows that step is in
  ///   the answer then, if the curves go on from there; `from` says so.
  public func json(_ wanted: [String], known: (state: String, step: Int)? = nil) -> JSONValue {
    let last = known.flatMap { known in
      known.state == state ? buckets.lastIndex { $0.lastStep == known.step } : nil
    }
    let shown = buckets[(last.map { $0 + 1 } ?? 0)...]
    var series = JSONObject()
    for name in wanted {
      guard let metric = reader.metric(name) else { continue }
      series[name] = .array(
        shown.map {
          metric < $0.counts.count && $0.counts[metric] > 0
            ? .decimal($0.sums[metric] / Double($0.counts[metric])) : .null
        })
    }
    return .members([
      "state": .string(state), "from": last.map { .integer(buckets[$0].lastStep) } ?? .null,
      "steps": .array(shown.map { .integer($0.lastStep) }), "series": .object(series),
    ])
  }
}
