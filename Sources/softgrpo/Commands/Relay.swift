import ArgumentParser
import Relay
import RunConfiguration
import Sessions
import Transport

struct Relay: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Stands between a learner and workers, so that the learner's link does not grow with their number.",
    discussion: """
      Joins the learner (or another relay) as one large worker and is a learner to the workers that connect to it. Weights \
      come once and are handed on; leases, results and cancellations pass through. It is stateless: when it dies, workers \
      with a second --connect go there. SIGTERM drains it.
      """)

  @Option(
    help: ArgumentHelp(
      "Control endpoint of the learner or relay above, as in tcp://learner:5555. Several are tried in turn."))
  var connect: [String]

  @Option(help: "Where workers connect, as in tcp://0.0.0.0:5555.")
  var bind = "tcp://127.0.0.1:5555"

  @Option(help: "Where new versions are announced to workers.")
  var announceBind = "tcp://127.0.0.1:5556"

  @Option(help: "A name for logs; default: the name of its key, or host and process.")
  var name: String?

  @Option(help: "Least severity that is logged: trace, debug, info, notice, warning, error, critical.")
  var logLevel = "info"

  @Option(
    help:
      "Folder of keys that `softgrpo keygen --cluster … --relay` made, for both directions; or a folder of workers' keys, of which the relay shows one upwards."
  )
  var keys: String?

  @Option(help: "Upwards: this relay's secret key file. With --server-key, in place of --keys.")
  var key: String?

  @Option(
    help:
      "Upwards: public key of the learner or relay above, its file, or with --keys its name there (server); one for all --connect, or one for each."
  )
  var serverKey: [String] = []

  @Option(help: "Downwards: folder with server.key and authorized_workers, as a learner's. Default: --keys.")
  var bindKeys: String?

  @Option(
    help: "Downwards: secret key file of this relay's sockets. With --authorized-workers, in place of --bind-keys.")
  var bindKey: String?

  @Option(help: "Downwards: file of the workers' keys that may connect.")
  var authorizedWorkers: String?

  @Flag(help: "Permit networks without encryption or authentication, in both directions.")
  var insecure = false

  func validate() throws {
    if connect.isEmpty { throw ValidationError("--connect: is missing") }
    if RunSection.LogLevel(rawValue: logLevel) == nil {
      throw ValidationError("--log-level: must be one of trace, debug, info, notice, warning, error, critical")
    }
    if bind == announceBind, !bind.hasSuffix(":*"), !bind.hasSuffix(":0") {
      throw ValidationError("--announce-bind: must differ from --bind, got \(bind)")
    }
    let own = [bind, announceBind].compactMap { try? Endpoint($0) }.filter { $0.port != 0 || $0.kind != .tcp }
    if let loop = connect.first(where: { text in own.contains { (try? Endpoint(text)) == $0 } }) {
      throw ValidationError("--connect: \(loop) is where this relay listens itself")
    }
  }

  func run() throws {
    let output = RunConsole(
      name.map { "relay \($0)" } ?? "relay", level: RunSection.LogLevel(rawValue: logLevel) ?? .info)
    let logger = output.logger
    let (attachments, loaded) = try workerAttachments(
      connecting: connect, name: name, keys: keys, key: key, serverKeys: serverKey, allowInsecure: insecure,
      isRelay: true, logger: logger)
    if insecure { logger.warning("INSECURE: the link to \(connect[0]) is neither encrypted nor authenticated") }
    var options = RelayServiceOptions(
      attachments: attachments, name: name ?? loaded.flatMap { $0.name.isEmpty ? nil : $0.name },
      controlEndpoint: bind, announcementEndpoint: announceBind)
    options.security = try relaySecurity(
      binding: [bind, announceBind], keys: bindKeys, key: bindKey, authorizedWorkers: authorizedWorkers,
      ownKeys: keys, name: name, allowInsecure: insecure, logger: logger)
    options.allowInsecure = insecure
    options.upstreamKeys = loaded
    let service = try RelayService(options, stop: Interruption.ofMember("the relay"), logger: logger)
    try service.run { frontEnd in
      logger.info(
        "listening at \(frontEnd.controlEndpoint); weights are announced at \(frontEnd.announcementEndpoint)")
    }
  }
}
