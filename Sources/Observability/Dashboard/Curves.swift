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

  public init() {}

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

  /// `{"steps": […], "series": {name: [value or null, …]}}` of these metrics.
  public func json(_ wanted: [String]) -> JSONValue {
    var series = JSONObject()
    for name in wanted {
      guard let metric = reader.metric(name) else { continue }
      series[name] = .array(
        buckets.map {
          metric < $0.counts.count && $0.counts[metric] > 0
            ? .decimal($0.sums[metric] / Double($0.counts[metric])) : .null
        })
    }
    return .members(["steps": .array(buckets.map { .integer($0.lastStep) }), "series": .object(series)])
  }
}
