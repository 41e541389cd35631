import TemplateSyntax

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension LocalTime {
  /// What the machine's clock shows, in its time zone.
  public static func now() throws -> LocalTime {
    var seconds = time(nil)
    var fields = tm()
    guard localtime_r(&seconds, &fields) != nil,
      let local = LocalTime(
        year: Int(fields.tm_year) + 1900, month: Int(fields.tm_mon) + 1, day: Int(fields.tm_mday),
        hour: Int(fields.tm_hour), minute: Int(fields.tm_min), second: Int(fields.tm_sec))
    else { throw TemplateError(.failed, "OSError: the machine's clock cannot be read") }
    return local
  }
}
