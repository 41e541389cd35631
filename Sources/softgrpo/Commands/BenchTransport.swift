import ArgumentParser
import FleetBenchmarks
import Foundation
import Logging
import Observability

struct BenchTransport: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "transport",
    abstract: "What the learner's front end takes from synthetic workers over real sockets, and what it costs.",
    discussion: """
      Each number of workers runs twice: as fast as it goes, and at --rate trajectories a second and worker, then with \
      versions of --broadcast-bytes that every worker fetches. Processor time is that of the learner's I/O thread, and of \
      libzmq's thread beside it. The workers, and relays, share this machine's cores.
      """)

  @Option(help: "Numbers of workers, one after another.")
  var workers = CommaSeparated<Int>([1, 10, 100, 1000])
  @Option(help: "Numbers of relays between the learner and the workers, one after another; 0: none.")
  var relays = CommaSeparated<Int>([0])
  @Option(help: "Bytes of a version that is broadcast.")
  var broadcastBytes = 512 << 10
  @Option(help: "none, curve or both.")
  var security = CommaSeparated<String>(["none", "curve"])
  @Option(help: "Seconds of each measurement.")
  var seconds = 2.0
  @Option(help: "Soft steps of a trajectory.")
  var steps = 200
  @Option(help: "Trajectories a second of one worker under the realistic load.")
  var rate = 1.0
  @Option(help: "Samples that a worker holds at once when it answers as fast as it can.")
  var credits = 4
  @Option(help: "Threads of the synthetic workers.")
  var threads = 1
  @Flag(help: "Print JSON instead of a table.")
  var json = false

  func run() throws {
    try requireAll(workers.elements, "--workers", atMost: 100_000)
    guard !relays.elements.isEmpty, relays.elements.allSatisfy({ (0...1000).contains($0) }) else {
      throw ValidationError("--relays: must be 0 to 1000 each")
    }
    try requirePositive(broadcastBytes, "--broadcast-bytes", atMost: 16 << 20)
    try requirePositive(steps, "--steps", atMost: 100_000)
    try requirePositive(credits, "--credits", atMost: 1000)
    try requirePositive(threads, "--threads", atMost: 64)
    guard seconds > 0, seconds <= 3600, rate > 0, rate <= 10_000 else {
      throw ValidationError("--seconds, --rate: must be above 0")
    }
    var settings = TransportBenchmark.Settings()
    settings.workers = workers.elements
    settings.relays = relays.elements
    settings.broadcastByteCount = broadcastBytes
    settings.security = security.elements
    settings.seconds = seconds
    settings.steps = steps
    settings.rate = rate
    settings.credits = credits
    settings.threads = threads
    let output = RunConsole("bench", level: .error)
    let report = try TransportBenchmark(settings, logger: output.logger).run(progress: showStage)
    showStage("")
    if json {
      try printReport(report)
    } else {
      try printTable(report)
    }
  }

  private func printTable(_ report: TransportBenchmark.Report) throws {
    let loopback = report.settings.security.map {
      "\(formatFixed(report.loopbackMegabytesPerSecond[$0] ?? 0, 0)) MB/s (\($0))"
    }
    print("trajectory  \(report.trajectoryBytes) bytes: \(report.settings.steps) soft steps of \(report.settings.topK)")
    print("limits      loopback \(loopback.joined(separator: ", ")); \(report.fileDescriptorLimit) open files\n")
    var table = Table(
      columns: [.init("security", .left), .init("workers"), .init("relays")]
        + [
          "join s", "traj/s", "MB/s", "of loopback", "I/O us/traj", "zmq us/traj", "I/O core", "zmq core",
          "announce ms", "slowest", "relay us/traj", "lost",
        ].map { .init($0) })
    for row in report.results {
      try table.append([
        row.security, "\(row.workers)", "\(row.relays)", formatFixed(row.joinSeconds, 2),
        formatFixed(row.trajectoriesPerSecond, 0),
        formatFixed(row.megabytesPerSecond, 1), formatFixed(row.fractionOfLoopback, 2),
        formatFixed(row.microsecondsPerTrajectory, 1), formatFixed(row.libraryMicrosecondsPerTrajectory, 1),
        formatFixed(row.realisticCoreShare, 4), formatFixed(row.realisticLibraryCoreShare, 4),
        formatFixed(row.announcementMedianMilliseconds, 1), formatFixed(row.announcementSlowestMilliseconds, 1),
        formatFixed(row.relayMicrosecondsPerTrajectory, 1),
        "\(row.lostTrajectories + row.lostSessions + row.repeatedResults)",
      ])
    }
    print(table.rendered())
    print("\nI/O core, zmq core and announcements at \(formatFixed(report.settings.rate, 2)) trajectories/s a worker")
    var broadcasts = Table(
      columns: [.init("security", .left)]
        + ["workers", "relays", "learner sends MB", "learner CPU ms", "median ms", "slowest ms"].map { .init($0) })
    for row in report.results {
      try broadcasts.append([
        row.security, "\(row.workers)", "\(row.relays)",
        formatFixed(Double(row.broadcastLearnerByteCount) * 1e-6, 2),
        formatFixed(row.broadcastLearnerProcessorMilliseconds, 1), formatFixed(row.broadcastMedianMilliseconds, 1),
        formatFixed(row.broadcastSlowestMilliseconds, 1),
      ])
    }
    print("\nA version of \(report.settings.broadcastByteCount) bytes, until workers have it, beside the same load:\n")
    print(broadcasts.rendered())
  }
}
