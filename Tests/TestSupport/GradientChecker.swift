/// Central differences of a scalar function in Double: the slope along each chosen coordinate.
///
/// With functions of order one and a step of 1e-5 the slope is good to about 1e-9.
public func centralDifferences(
  of function: ([Double]) -> Double, at point: [Double], coordinates: [Int]? = nil, step: Double = 1e-5
) -> [Double] {
  var point = point
  return (coordinates ?? Array(point.indices)).map { index in
    let old = point[index]
    point[index] = old + step
    let above = function(point)
    point[index] = old - step
    let below = function(point)
    point[index] = old
    return (above - below) / (2 * step)
  }
}

/// About `count` coordinates spread over `0..<size`, the first and the last among them.
public func spread(_ size: Int, count: Int) -> [Int] {
  if size <= count { return Array(0..<size) }
  return (0..<count).map { $0 * (size - 1) / (count - 1) }
}

/// Largest difference of two parallel lists, in units of the largest magnitude of `expected` (at least `floor`).
public func relativeDifference(_ got: [Float], _ expected: [Double], floor: Double = 1e-3) -> Double {
  guard got.count == expected.count else { return .infinity }
  var (worst, scale) = (0.0, floor)
  for (a, b) in zip(got, expected) {
    let difference = abs(Double(a) - b)
    // NaN must not pass for small.
    if !(difference <= worst) { worst = difference.isNaN ? .infinity : difference }
    scale = max(scale, abs(b))
  }
  return worst / scale
}

public func doubles(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// Sum of products in Double.
public func innerProduct(_ a: [Double], _ b: [Double]) -> Double {
  var total = 0.0
  for index in 0..<min(a.count, b.count) { total += a[index] * b[index] }
  return total
}
