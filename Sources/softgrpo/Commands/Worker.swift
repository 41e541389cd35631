import ArgumentParser
import Foundation
import Kernels
import Machine
import RunConfiguration
import Sessions
import Worker

extension WorkerSection.DataType: ExpressibleByArgument {}

struct Worker: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A stateless rollout worker: joins a learner and samples what it is lent.",
    discussion: "Everything it needs (model, weights, policy, budgets) comes from the learner. SIGTERM drains it.")

  @Option(
    help: ArgumentHelp(
      "Control endpoint of the learner or a relay, as in tcp://learner:5555. Give several for places to go to, in turn, when one is lost."
    ))
  var connect: [String]

  @Option(help: "A name for logs; default: the name of its key, or host and process.")
  var name: String?

  @Option(help: "Threads; default: what affinity and the cgroup allow.")
  var threads: Int?

  @Option(help: "Arithmetic: auto (the learner's), bfloat16, float32 or int8 (AVX512-VNNI).")
  var dtype = WorkerSection.DataType.auto

  @Option(help: "Sequences decoded at once.")
  var batchSize = 64

  @Flag(
    inversion: .prefixedNo,
    help: "Compute gradients too, when the learner asks for them; it takes memory for weights ready to be trained.")
  var gradients = true

  @Option(help: "Least severity that is logged: trace, debug, info, notice, warning, error, critical.")
  var logLevel = "info"

  @Option(
    help:
      "Folder of keys that `softgrpo keygen --cluster` made: NAME.key, or the first that no other worker here holds.")
  var keys: String?

  @Option(help: "This worker's secret key file. With --server-key, in place of --keys.")
  var key: String?

  @Option(
    help:
      "The learner's public key, its file, or with --keys the name of a key there (server, or a relay's); one for all --connect, or one for each."
  )
  var serverKey: [String] = []

  @Flag(help: "Join over a network without encryption or authentication.")
  var insecure = false

  @Flag(help: "Join, say what the run's model would need here, and leave without taking work.")
  var dryRun = false

  @Option(help: .hidden)
  var parent: Int32?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads: must be at least 1, got \(threads)") }
    if connect.isEmpty { throw ValidationError("--connect: is missing") }
    if batchSize < 1 { throw ValidationError("--batch-size: must be at least 1, got \(batchSize)") }
    if RunSection.LogLevel(rawValue: logLevel) == nil {
      throw ValidationError("--log-level: must be one of trace, debug, info, notice, warning, error, critical")
    }
  }

  func run() throws {
    let label = name.map { "worker \($0)" } ?? "worker"
    let output = RunConsole(label, level: RunSection.LogLevel(rawValue: logLevel) ?? .info)
    var (attachments, security) = try workerAttachments(
      connecting: connect, name: name, keys: keys, key: key, serverKeys: serverKey, allowInsecure: insecure,
      logger: output.logger)
    if insecure { output.logger.warning("INSECURE: the link to \(connect[0]) is neither encrypted nor authenticated") }
    // Of the first place, whose key may be a relay's.
    security?.security = attachments[0].security
    var options = WorkerServiceOptions(
      endpoint: connect[0], name: name ?? security.flatMap { $0.name.isEmpty ? nil : $0.name },
      threads: threads ?? ProcessorFeatures.current.availableProcessors,
      batchSize: batchSize, dtype: RolloutDataType(rawValue: dtype.rawValue), computesGradients: gradients,
      security: security)
    options.alternatives = Array(attachments.dropFirst())
    options.parent = parent
    options.isDryRun = dryRun
    let service = try WorkerService(
      options, stop: Interruption.ofMember("the worker", parent: parent), logger: output.logger)
    try service.run()
  }
}
