/// The kernels written down as plainly as possible, in Double: what they should compute, slowly.
public enum Naive {
  /// y (rows x n) = x (rows x k) wᵀ, w n x k.
  public static func product(_ x: [Double], _ w: [Double], rows: Int, n: Int, k: Int) -> [Double] {
    var y = [Double](repeating: 0, count: rows * n)
    for row in 0..<rows {
      for column in 0..<n {
        var total = 0.0
        for index in 0..<k { total += x[row * k + index] * w[column * k + index] }
        y[row * n + column] = total
      }
    }
    return y
  }

  /// dx (rows x k) = dy (rows x n) w.
  public static func productTransposed(_ dy: [Double], _ w: [Double], rows: Int, n: Int, k: Int) -> [Double] {
    var dx = [Double](repeating: 0, count: rows * k)
    for row in 0..<rows {
      for column in 0..<n {
        for index in 0..<k { dx[row * k + index] += dy[row * n + column] * w[column * k + index] }
      }
    }
    return dx
  }

  /// dw (n x k) = dyᵀ x.
  public static func weightGradient(_ dy: [Double], _ x: [Double], rows: Int, n: Int, k: Int) -> [Double] {
    var dw = [Double](repeating: 0, count: n * k)
    for row in 0..<rows {
      for column in 0..<n {
        for index in 0..<k { dw[column * k + index] += dy[row * n + column] * x[row * k + index] }
      }
    }
    return dw
  }

  /// Rows of x normalised to unit root mean square, times weight.
  public static func rmsNorm(_ x: [Double], _ weight: [Double], epsilon: Double, rows: Int) -> [Double] {
    let width = weight.count
    var y = x
    for row in 0..<rows {
      var squares = 0.0
      for index in 0..<width { squares += x[row * width + index] * x[row * width + index] }
      let inverse = 1 / (squares / Double(width) + epsilon).squareRoot()
      for index in 0..<width { y[row * width + index] *= inverse * weight[index] }
    }
    return y
  }

  /// silu(gate) * up for rows of gate and up side by side.
  public static func gatedUnit(_ gateUp: [Double], rows: Int, width: Int) -> [Double] {
    var y = [Double](repeating: 0, count: rows * width)
    for row in 0..<rows {
      for index in 0..<width {
        let (gate, up) = (gateUp[row * 2 * width + index], gateUp[row * 2 * width + width + index])
        y[row * width + index] = gate / (1 + exponential(-gate)) * up
      }
    }
    return y
  }

  /// One sequence's causal grouped-query attention. `qkv`: length rows of heads queries, then `groups` keys, then
  /// `groups` values, each `width` wide. Returns length x heads x width, and the log-sum-exps, length x heads.
  public static func attention(
    _ qkv: [Double], length: Int, heads: Int, groups: Int, width: Int
  ) -> (out: [Double], logSumExp: [Double]) {
    let stride = (heads + 2 * groups) * width
    var out = [Double](repeating: 0, count: length * heads * width)
    var logSumExp = [Double](repeating: 0, count: length * heads)
    for row in 0..<length {
      for head in 0..<heads {
        let group = head / (heads / groups)
        let query = row * stride + head * width
        var scores: [Double] = []
        for key in 0...row {
          var total = 0.0
          for index in 0..<width { total += qkv[query + index] * qkv[key * stride + (heads + group) * width + index] }
          scores.append(total / Double(width).squareRoot())
        }
        let top = scores.max()!
        let weights = scores.map { exponential($0 - top) }
        let total = weights.reduce(0, +)
        logSumExp[row * heads + head] = top + logarithm(total)
        for key in 0...row {
          for index in 0..<width {
            out[(row * heads + head) * width + index] +=
              weights[key] / total * qkv[key * stride + (heads + groups + group) * width + index]
          }
        }
      }
    }
    return (out, logSumExp)
  }

  /// Rotates the pairs (i, i + width / 2) of one head.
  public static func rotate(_ x: [Double], position: Int, inverseFrequencies: [Double]) -> [Double] {
    let half = inverseFrequencies.count
    var y = x
    for index in 0..<half {
      let angle = Double(position) * inverseFrequencies[index]
      y[index] = x[index] * cosine(angle) - x[index + half] * sine(angle)
      y[index + half] = x[index + half] * cosine(angle) + x[index] * sine(angle)
    }
    return y
  }

  /// Log-softmax of a row at a temperature.
  public static func logSoftmax(_ row: [Double], temperature: Double = 1) -> [Double] {
    let top = row.max()!
    let total = row.reduce(0) { $0 + exponential(($1 - top) / temperature) }
    return row.map { ($0 - top) / temperature - logarithm(total) }
  }
}
