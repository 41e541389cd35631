import Glibc

/// What relays add to a cluster's folder of keys. A relay is a worker to what is above it and a learner to its workers, so it
/// needs both halves, and each of its workers the public key that it shows below:
///
///     DIR/relays/NAME/upstream/NAME.key                  the key that it shows above
///     DIR/relays/NAME/upstream/server.pub                the learner's public key
///     DIR/relays/NAME/downstream/server.key              the key that it shows its workers
///     DIR/relays/NAME/downstream/authorized_workers      the keys that may connect to it
///     DIR/workers/NAME.pub                               for its workers: its public key
///
/// DIR/relays/NAME is all that a relay's machine needs.
extension KeyDirectory {
  /// A relay and those that attach to it: names of workers, or of other relays.
  public struct Relay: Sendable, Equatable {
    public var name: String
    public var children: [String]

    public init(name: String, children: [String]) {
      self.name = name
      self.children = children
    }
  }

  func relayPath(_ name: String) -> String { "\(path)/relays/\(name)" }
  private func upstreamPath(_ name: String) -> String { "\(relayPath(name))/upstream" }
  private func downstreamPath(_ name: String) -> String { "\(relayPath(name))/downstream" }

  /// Makes what is missing of the learner, workers and relays, and leaves the rest alone. Children of relays that are no
  /// relays are workers, whose keys are made too. Everybody is on the learner's list: who loses a relay goes there.
  ///
  /// The learner's list decides who belongs to the cluster: a key that was taken off it is not put on a relay's either.
  /// - Throws: `TransportError` for a name that is no file name or means two things, for a relay below itself, and for files
  ///   that cannot be read or written.
  public func extend(workers names: [String], relays: [Relay]) throws -> Changes {
    let relayNames = Set(relays.map(\.name))
    guard relayNames.count == relays.count else { throw TransportError("a relay is named twice") }
    for relay in relays {
      try Self.check(name: relay.name)
      if let child = relay.children.first(where: { !relayNames.contains($0) && isRelay($0) }) {
        throw TransportError(
          "\"\(child)\" is a relay's key in \(path): name it with --relay too, or give the worker another name")
      }
      try checkLoops(relay.name, below: relay, of: relays)
    }
    if let both = names.first(where: { relayNames.contains($0) || isRelay($0) }) {
      throw TransportError("\"\(both)\" cannot name both a worker and a relay: their keys would be one")
    }
    for name in relayNames where access("\(workersPath)/\(name).key", F_OK) == 0 {
      throw TransportError("\"\(name)\" is a worker's key in \(path): give the relay another name")
    }
    var workers = names
    for child in relays.flatMap(\.children) where !relayNames.contains(child) && !workers.contains(child) {
      workers.append(child)
    }
    var changes = try extend(workers: workers)
    for relay in relays where try make(relay.name, changes.serverKey) { changes.madeRelays.append(relay.name) }
    for relay in relays { try allow(relay, relayNames) }
    changes.workerCount = try AllowList.read("\(learnerPath)/\(Self.allowListName)").count
    changes.relayCount = entries(in: "\(path)/relays").filter(isRelay).count
    return changes
  }

  private func isRelay(_ name: String) -> Bool { access("\(relayPath(name))/downstream", F_OK) == 0 }

  private func checkLoops(_ name: String, below relay: Relay, of relays: [Relay], depth: Int = 0) throws {
    for child in relay.children {
      guard child != name, depth <= relays.count else {
        throw TransportError("relay \"\(name)\" would get its work from itself")
      }
      if let next = relays.first(where: { $0.name == child }) {
        try checkLoops(name, below: next, of: relays, depth: depth + 1)
      }
    }
  }

  /// - Returns: whether it is new.
  private func make(_ name: String, _ learner: PublicKey) throws -> Bool {
    for folder in ["\(path)/relays", relayPath(name), upstreamPath(name), downstreamPath(name)] {
      try makeFolder(folder)
    }
    let keyPath = "\(upstreamPath(name))/\(name).key"
    let isNew = access(keyPath, F_OK) != 0
    let listPath = "\(learnerPath)/\(Self.allowListName)"
    if isNew {
      let pair = try KeyPair.generate()
      try KeyFile.writeSecret(pair, name: name, to: keyPath)
      try append("\(pair.publicKey) \(name)\(AllowList.relayMark)\n", to: listPath)
    } else {
      try AllowList.mark(KeyFile.readSecret(keyPath).pair.publicKey, in: listPath)
    }
    try writePublic(learner, name: "learner", to: "\(upstreamPath(name))/\(Self.serverPublicName)", of: "the learner")
    let serverPath = "\(downstreamPath(name))/\(Self.serverKeyName)"
    if access(serverPath, F_OK) != 0 { try KeyFile.writeSecret(.generate(), name: name, to: serverPath) }
    try writePublic(
      KeyFile.readSecret(serverPath).pair.publicKey, name: name, to: "\(workersPath)/\(name).pub", of: serverPath)
    try append("", to: "\(downstreamPath(name))/\(Self.allowListName)")
    return isNew
  }

  private func writePublic(_ key: PublicKey, name: String, to path: String, of owner: String) throws {
    if access(path, F_OK) != 0 {
      try KeyFile.writePublic(key, name: name, to: path)
    } else if try KeyFile.publicKey(path) != key {
      throw TransportError("\(path): is not the public key of \(owner); remove the one that is out of date")
    }
  }

  private func allow(_ relay: Relay, _ relayNames: Set<String>) throws {
    let members = try AllowList.read("\(learnerPath)/\(Self.allowListName)")
    let listPath = "\(downstreamPath(relay.name))/\(Self.allowListName)"
    var listed = try AllowList.read(listPath)
    for child in relay.children {
      let isRelay = relayNames.contains(child)
      let key = try KeyFile.readSecret("\(isRelay ? upstreamPath(child) : workersPath)/\(child).key").pair.publicKey
      if isRelay {
        let server = try KeyFile.publicKey("\(workersPath)/\(relay.name).pub")
        try writePublic(
          server, name: relay.name, to: "\(upstreamPath(child))/\(relay.name).pub", of: "relay \(relay.name)")
      }
      guard members[key] != nil else { continue }
      guard listed.updateValue(child, forKey: key) == nil else {
        if isRelay { try AllowList.mark(key, in: listPath) }
        continue
      }
      try append("\(key) \(child)\(isRelay ? AllowList.relayMark : "")\n", to: listPath)
    }
  }

  // MARK: Using

  /// Where a relay's two halves are: DIR/relays/NAME, or DIR itself where that is the relay's own folder.
  /// - Throws: `TransportError` when there are none, or several and no name says which.
  private func relayFolder(name: String?) throws -> String {
    if access("\(path)/downstream", F_OK) == 0 { return path }
    let names = entries(in: "\(path)/relays").filter(isRelay).sorted()
    if let name, names.contains(name) { return relayPath(name) }
    if name == nil, names.count == 1 { return relayPath(names[0]) }
    throw TransportError(
      names.isEmpty
        ? "\(path): holds no relay's keys; `softgrpo keygen --cluster DIR --relay NAME=WORKER,WORKER` makes them"
        : "\(path): holds the keys of the relays \(names.joined(separator: ", ")); --name says which of them this is")
  }

  /// Whether a relay's keys are here.
  public var holdsRelays: Bool {
    access("\(path)/downstream", F_OK) == 0 || access("\(path)/relays", F_OK) == 0
  }

  /// Security of a relay, above and below.
  /// - Throws: `TransportError` when a file is missing or is not what it should be.
  public func relaySecurity(name: String?) throws -> (upstream: LoadedSecurity, downstream: LoadedSecurity) {
    let folder = try relayFolder(name: name)
    return (
      try KeyDirectory("\(folder)/upstream").clientSecurity(name: name),
      try KeyDirectory("\(folder)/downstream").serverSecurity()
    )
  }

  /// The public key of a learner (`server`) or a relay, by its name in the folder of workers; or the key itself, or a file.
  /// - Parameter isRelay: in the half of the relay's keys that faces upwards.
  /// - Throws: `TransportError` when it is none of these.
  public func serverKey(_ text: String, isRelay: Bool = false, name: String? = nil) throws -> PublicKey {
    var folder = access("\(workersPath)/\(Self.serverPublicName)", F_OK) == 0 ? workersPath : path
    if isRelay, holdsRelays { folder = "\(try relayFolder(name: name))/upstream" }
    let file = "\(folder)/\(text).pub"
    return try KeyFile.publicKey(!text.contains("/") && access(file, F_OK) == 0 ? file : text)
  }
}
