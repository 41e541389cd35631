// The special functions that draws and densities need, in double precision and on our own exponential and logarithm, so that
// every processor computes the same bits.

extension PortableMath {
  /// The standard normal's quantile of a probability in (0, 1), by Wichura's rational approximations (AS 241, PPND16; relative
  /// error about 1e-16). -infinity at 0, +infinity at 1.
  public static func normalQuantile(_ probability: Double) -> Double {
    let centred = probability - 0.5
    if abs(centred) <= 0.425 {
      let r = 0.180625 - centred * centred
      return centred * ratio(r, NormalTables.centre)
    }
    let tail = centred < 0 ? probability : 1 - probability
    guard tail > 0 else { return centred < 0 ? -.infinity : .infinity }
    let r = (-log(tail)).squareRoot()
    let magnitude = r <= 5 ? ratio(r - 1.6, NormalTables.tail) : ratio(r - 5, NormalTables.farTail)
    return centred < 0 ? -magnitude : magnitude
  }

  /// log Gamma(x) for x > 0: Stirling's series from 10 on (error below 1e-12), the recurrence below. +infinity for x <= 0.
  public static func logGamma(_ x: Double) -> Double {
    guard x > 0 else { return x.isNaN ? x : .infinity }
    var shift = 1.0
    var argument = x
    while argument < 10 {
      shift *= argument
      argument += 1
    }
    let inverse = 1 / argument
    let square = inverse * inverse
    let series =
      inverse
      * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680 - square * (1.0 / 1188)))))
    let halfLogTwoPi = 0.918_938_533_204_672_741_78
    return (argument - 0.5) * log(argument) - argument + halfLogTwoPi + series - log(shift)
  }

  /// d(log Gamma)/dx for x > 0: the asymptotic series from 10 on, the recurrence below. NaN for x <= 0.
  public static func digamma(_ x: Double) -> Double {
    guard x > 0 else { return .nan }
    var shift = 0.0
    var argument = x
    while argument < 10 {
      shift += 1 / argument
      argument += 1
    }
    let inverse = 1 / argument
    let square = inverse * inverse
    let series =
      square
      * (1.0 / 12 - square * (1.0 / 120 - square * (1.0 / 252 - square * (1.0 / 240 - square * (1.0 / 132)))))
    return log(argument) - 0.5 * inverse - series - shift
  }

  /// The second derivative of log Gamma for x > 0: as `digamma`. NaN for x <= 0.
  public static func trigamma(_ x: Double) -> Double {
    guard x > 0 else { return .nan }
    var shift = 0.0
    var argument = x
    while argument < 10 {
      shift += 1 / (argument * argument)
      argument += 1
    }
    let inverse = 1 / argument
    let square = inverse * inverse
    let series = 1.0 / 6 - square * (1.0 / 30 - square * (1.0 / 42 - square * (1.0 / 30 - square * (5.0 / 66))))
    return inverse + 0.5 * square + inverse * square * series + shift
  }

  /// A quotient of polynomials, coefficients by falling power.
  private static func ratio(_ x: Double, _ table: (above: [Double], below: [Double])) -> Double {
    let above = table.above.reduce(0) { $0 * x + $1 }
    return above / table.below.reduce(0) { $0 * x + $1 }
  }
}

/// Coefficients of AS 241, by falling power.
private enum NormalTables {
  static let centre: (above: [Double], below: [Double]) = (
    [
      2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4, 4.5921953931549871457e+4,
      1.3731693765509461125e+4, 1.9715909503065514427e+3, 1.3314166789178437745e+2, 3.3871328727963666080e0,
    ],
    [
      5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
      5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1,
    ]
  )
  static let tail: (above: [Double], below: [Double]) = (
    [
      7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
      3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0,
    ],
    [
      1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
      6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1,
    ]
  )
  static let farTail: (above: [Double], below: [Double]) = (
    [
      2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
      2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0,
    ],
    [
      2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
      1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1,
    ]
  )
}
