import Foundation
import Synchronization

/// A terminal or a log that several parts write lines to. A terminal also has one status line at its bottom, which is
/// rewritten in place and moves down when a line is written.
public final class Console: Sendable {
  private struct State {
    var status = ""
  }

  /// Whether the status line exists; without a terminal nothing is rewritten.
  public let isTerminal: Bool
  private let columns: @Sendable () -> Int
  private let write: @Sendable (String) -> Void
  private let state = Mutex(State())

  /// - Parameters:
  ///   - columns: the terminal's width, asked at each drawing.
  ///   - write: takes text that ends where it ends; called by one thread at a time.
  public init(isTerminal: Bool, columns: @escaping @Sendable () -> Int, write: @escaping @Sendable (String) -> Void) {
    self.isTerminal = isTerminal
    self.columns = columns
    self.write = write
  }

  /// The process's standard error.
  public static let standardError = Console(
    isTerminal: isatty(STDERR_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb",
    columns: {
      var size = winsize()
      return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    },
    write: { text in
      var rest = Array(text.utf8)[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        // Nobody can be told that standard error is gone.
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
      }
    })

  /// The terminal's width as it is now.
  public var width: Int { columns() }

  /// Writes a line above the status line.
  public func writeLine(_ line: String) {
    state.withLock { state in
      if state.status.isEmpty {
        write(line + "\n")
      } else {
        write("\r\u{1B}[K" + line + "\n" + state.status)
      }
    }
  }

  /// Replaces the status line, cut to the width; empty removes it. Does nothing without a terminal.
  public func setStatus(_ text: String) {
    guard isTerminal else { return }
    state.withLock { state in
      // The last column stays free: filling it makes some terminals wrap.
      let status = String(text.prefix(max(1, columns() - 1)))
      if status == state.status { return }
      state.status = status
      write("\r\u{1B}[K" + status)
    }
  }
}
