/// The run in a browser.
public struct DashboardSection: Sendable, Equatable {
  public var enabled = true
  /// An IPv4 address of the learner's machine. Off loopback a token is needed.
  public var host = "127.0.0.1"
  /// 7717: that one, or one of the next that are free; 0: any; else that one alone.
  public var port = 7717
  /// Holds what a browser must know; its contents stand nowhere else.
  public var tokenFile: String?

  public init() {}
}

extension DashboardSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .flag("enabled", \.enabled),
      .text("host", \.host),
      .integer("port", \.port, 0...65_535),
      .optionalText("token_file", \.tokenFile),
    ]
  }
}
