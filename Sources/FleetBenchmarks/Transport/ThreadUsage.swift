import Foundation

/// Processor time of this process's threads, by their names.
enum ThreadUsage {
  /// Seconds that the threads whose name `matches` have run so far; those that have ended are not counted.
  static func seconds(where matches: (String) -> Bool) -> Double {
    let folder = "/proc/self/task"
    var nanoseconds = 0.0
    for thread in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
      guard let name = try? String(contentsOfFile: "\(folder)/\(thread)/comm", encoding: .utf8),
        matches(name.trimmingCharacters(in: .newlines)),
        let times = try? String(contentsOfFile: "\(folder)/\(thread)/schedstat", encoding: .utf8),
        let running = times.split(separator: " ").first.flatMap({ Double($0) })
      else { continue }
      nanoseconds += running
    }
    return nanoseconds * 1e-9
  }

  /// The learner's own I/O thread.
  static var learner: Double { seconds { $0 == "learner-io" } }
  /// libzmq's threads of the learner's context: the synthetic workers' have a number before their name.
  static var library: Double { seconds { $0.hasPrefix("ZMQbg/IO") } }
  /// Threads of the benchmark's relays, libzmq's included.
  static let relayPrefix = 800
  static var relays: Double {
    seconds { $0 == "relay-io" || $0 == "worker-io" || $0 == "relay" || $0.hasPrefix("\(relayPrefix)/") }
  }

  /// User and system time of all threads.
  static var process: Double {
    var usage = rusage()
    // RUSAGE_SELF, whose type differs between C libraries.
    getrusage(0, &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
