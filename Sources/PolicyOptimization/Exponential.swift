#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// e^x in Float through libm's double `exp`, correctly rounded in all but a few cases in a billion. Objectives take one per
/// token, so its cost does not matter.
func exponential(_ x: Float) -> Float { Float(exp(Double(x))) }
