import JSON

/// A run's metrics by step, at most so many points a curve: a run of 100,000 steps costs a browser and this process what a short one
/// does. A point is the mean of neighbouring steps; how many grows by doubling. Pure.
public struct Curves: Sendable {
  public static let pointLimit = 2048

  /// Of the same steps for every curve.
  private struct Bucket: Sendable {
    var lastStep: Int
    var count: Int
    /// Sum and number of the values of each metric, by its place in `names`.
    var sums: [Double]
    var counts: [Int]
  }

  public private(set) var names: [String] = []
  private var places: [String: Int] = [:]
  private var buckets: [Bucket] = []
  /// Steps of a full bucket.
  private var width = 1
  public private(set) var newest: MetricsRecord?

  public init() {}

  public var pointCount: Int { buckets.count }

  public mutating func append(_ record: MetricsRecord) {
    newest = record
    if buckets.last.map({ $0.count >= width }) ?? true {
      if buckets.count >= Self.pointLimit { halve() }
      if buckets.last.map({ $0.count >= width }) ?? true {
        buckets.append(Bucket(lastStep: record.step, count: 0, sums: [], counts: []))
      }
    }
    let last = buckets.count - 1
    buckets[last].lastStep = record.step
    buckets[last].count += 1
    for (name, value) in record.metrics where value.isFinite {
      let place = place(of: name)
      Self.widen(&buckets[last], to: place + 1)
      buckets[last].sums[place] += value
      buckets[last].counts[place] += 1
    }
  }

  private static func widen(_ bucket: inout Bucket, to count: Int) {
    let missing = count - bucket.sums.count
    guard missing > 0 else { return }
    bucket.sums += Array(repeating: 0, count: missing)
    bucket.counts += Array(repeating: 0, count: missing)
  }

  private mutating func place(of name: String) -> Int {
    if let place = places[name] { return place }
    places[name] = names.count
    names.append(name)
    return names.count - 1
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
      guard let place = places[name] else { continue }
      series[name] = .array(
        buckets.map {
          place < $0.counts.count && $0.counts[place] > 0 ? .decimal($0.sums[place] / Double($0.counts[place])) : .null
        })
    }
    return .members(["steps": .array(buckets.map { .integer($0.lastStep) }), "series": .object(series)])
  }
}
