import TemplateSyntax

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// `float ** float` and printf-style digits, of the C library as in Python.
enum FloatPower {
  static func power(_ left: Double, _ right: Double) throws -> Double {
    if left == 0, right < 0 {
      throw TemplateError(.failed, "ZeroDivisionError: 0.0 cannot be raised to a negative power")
    }
    if left < 0, left.isFinite, right.isFinite, right != right.rounded() {
      throw TemplateError.unsupported("a complex number")
    }
    let result = pow(left, right)
    if result.isInfinite, left.isFinite, right.isFinite {
      throw TemplateError(.failed, "OverflowError: (34, 'Numerical result out of range')")
    }
    return result
  }

  /// `value` as `printf` writes it with `%.{precision}{kind}`; at most 400 characters.
  static func digits(_ value: Double, kind: Character, precision: Int, alternate: Bool = false) -> String {
    var buffer = [CChar](repeating: 0, count: 800)
    let length = withVaList([CInt(clamping: precision), value]) {
      vsnprintf(&buffer, buffer.count, "%\(alternate ? "#" : "").*\(kind)", $0)
    }
    return String(
      decoding: buffer.prefix(min(max(Int(length), 0), buffer.count - 1)).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
