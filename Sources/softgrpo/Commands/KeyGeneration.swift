import ArgumentParser
import Foundation
import Transport

struct KeyGeneration: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keygen",
    abstract: "Makes the CURVE keys that protect the traffic between learner and workers.",
    discussion: """
      With --cluster DIR it makes everything a cluster needs: the learner's key, a key for each worker and the list of \
      workers that may connect. Keys that exist are kept, so that it also adds workers to a running cluster. \
      --relay adds a relay: DIR/relays/NAME is all that its machine needs, and its workers get its public key. \
      With --output FILE it makes one key pair: FILE, readable by its owner alone, and FILE.pub. docs/security.md has more.
      """)

  @Option(help: "The cluster's folder of keys; made or extended.")
  var cluster: String?

  @Option(help: "Keys for workers named worker-1 to worker-N. Default with --cluster: 1, unless --names is given.")
  var workers: Int?

  @Option(help: "Keys for workers of these names, separated by commas: hosts, for instance.")
  var names: String?

  @Option(
    help: ArgumentHelp(
      "Keys for a relay and the workers (or relays) that attach to it, as in rack-1=box-1,box-2; their keys are made too. Without =, all workers of this command. May be given again.",
      valueName: "name=workers"))
  var relay: [String] = []

  @Option(help: "File of a single secret key.")
  var output: String?

  @Option(help: "What the single key is called in its file. Default: the file's name.")
  var name: String?

  func validate() throws {
    guard (cluster == nil) != (output == nil) else {
      throw ValidationError("give --cluster DIR for a whole cluster, or --output FILE for one key pair")
    }
    if output != nil, workers != nil || names != nil || !relay.isEmpty {
      throw ValidationError("--workers, --names, --relay: belong to --cluster")
    }
    if cluster != nil, name != nil { throw ValidationError("--name: belongs to --output; --cluster takes --names") }
    if let workers, !(1...100_000).contains(workers) {
      throw ValidationError("--workers: must be 1 to 100000, got \(workers)")
    }
  }

  func run() throws {
    if let cluster { try makeCluster(cluster) } else if let output { try makePair(output) }
  }

  private func makeCluster(_ path: String) throws {
    var wanted = names.map(list) ?? []
    if let count = workers ?? (names == nil && relay.isEmpty ? 1 : nil) { wanted += (1...count).map { "worker-\($0)" } }
    guard Set(wanted).count == wanted.count else { throw CommandError("--names: a name is there twice") }
    let relays = try relay.map { text in
      guard let equals = text.firstIndex(of: "=") else {
        guard !wanted.isEmpty else {
          throw CommandError(
            "--relay \(text): name its workers, as in \(text)=box-1,box-2, or with --workers or --names")
        }
        return KeyDirectory.Relay(name: text, children: wanted)
      }
      let children = list(String(text[text.index(after: equals)...]))
      guard Set(children).count == children.count else {
        throw CommandError("--relay \(text): a name is there twice")
      }
      return KeyDirectory.Relay(name: text[..<equals].trimmingCharacters(in: .whitespaces), children: children)
    }
    let changes = try KeyDirectory(path).extend(workers: wanted, relays: relays)
    print("learner     \(changes.serverKey)\(changes.madeServer ? " (new)" : "")")
    print(
      "workers     \(changes.workerCount) authorized, \(changes.madeWorkers.count) of them new"
        + (changes.madeWorkers.isEmpty ? "" : ": \(changes.madeWorkers.prefix(8).joined(separator: ", "))")
        + (changes.madeWorkers.count > 8 ? ", …" : ""))
    print("start       softgrpo learner --keys \(path) …")
    print("            softgrpo worker  --keys \(path) --connect tcp://LEARNER:5555")
    print("elsewhere   a worker's machine needs \(path)/workers/server.pub and its own NAME.key, nothing else")
    guard let first = relays.first else { return }
    print(
      "relays      \(changes.relayCount), \(changes.madeRelays.count) of them new"
        + (changes.madeRelays.isEmpty ? "" : ": \(changes.madeRelays.joined(separator: ", "))"))
    print("start       softgrpo relay   --keys \(path) --name \(first.name) --connect tcp://LEARNER:5555 --bind …")
    print("            softgrpo worker  --keys \(path) --connect tcp://RELAY:5555 --server-key \(first.name) \\")
    print("                             --connect tcp://LEARNER:5555 --server-key server")
    print(
      "elsewhere   a relay's machine needs \(path)/relays/NAME, nothing else; its workers' machines \(path)/workers/NAME.pub too"
    )
  }

  private func list(_ text: String) -> [String] {
    text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
  }

  private func makePair(_ path: String) throws {
    let label = name ?? URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    let pair = try KeyPair.generate()
    try KeyFile.writeSecret(pair, name: label, to: path)
    try KeyFile.writePublic(pair.publicKey, name: label, to: path + ".pub")
    print("secret      \(path)")
    print("public      \(path).pub")
    print("\(pair.publicKey) \(label)")
  }
}
