import Glibc

/// The keys of one cluster in one folder, as `softgrpo keygen --cluster DIR` writes it:
///
///     DIR/learner/server.key            the learner's secret key
///     DIR/learner/authorized_workers    the keys that may connect
///     DIR/workers/server.pub            the learner's public key
///     DIR/workers/NAME.key              a worker's secret key
///
/// A learner needs the first folder alone and a worker the second, with its own key in it. Relays: `extend(workers:relays:)`.
public struct KeyDirectory: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public static let serverKeyName = "server.key"
  public static let serverPublicName = "server.pub"
  public static let allowListName = "authorized_workers"

  var learnerPath: String { "\(path)/learner" }
  var workersPath: String { "\(path)/workers" }

  // MARK: Making

  /// What `extend` did.
  public struct Changes: Sendable, Equatable {
    public var madeServer = false
    public var madeWorkers: [String] = []
    public var serverKey: PublicKey
    public var madeRelays: [String] = []
    /// Keys on the learner's list, those of relays included.
    public var workerCount = 0
    public var relayCount = 0
  }

  /// Makes what is missing and leaves the rest alone: a server key pair, a key pair per name, the list of them.
  /// - Throws: `TransportError` for a name that is no file name, and for files that cannot be read or written.
  public func extend(workers names: [String]) throws -> Changes {
    for name in names { try Self.check(name: name) }
    for folder in [path, learnerPath, workersPath] { try makeFolder(folder) }
    let serverPath = "\(learnerPath)/\(Self.serverKeyName)"
    let publicPath = "\(workersPath)/\(Self.serverPublicName)"
    let makesServer = access(serverPath, F_OK) != 0
    if makesServer { try KeyFile.writeSecret(.generate(), name: "learner", to: serverPath) }
    let server = try KeyFile.readSecret(serverPath).pair.publicKey
    if access(publicPath, F_OK) != 0 {
      try KeyFile.writePublic(server, name: "learner", to: publicPath)
    } else if try KeyFile.publicKey(publicPath) != server {
      throw TransportError("\(publicPath): is not the public key of \(serverPath); remove the one that is out of date")
    }
    var changes = Changes(madeServer: makesServer, serverKey: server)
    let listPath = "\(learnerPath)/\(Self.allowListName)"
    let isNewList = access(listPath, F_OK) != 0
    try append("", to: listPath)
    var listed = try AllowList.read(listPath)
    for name in names {
      let keyPath = "\(workersPath)/\(name).key"
      let isNew = access(keyPath, F_OK) != 0
      if isNew {
        try KeyFile.writeSecret(.generate(), name: name, to: keyPath)
        changes.madeWorkers.append(name)
      }
      // A key that is here and not on the list was taken off it: it stays off.
      guard isNew || isNewList else { continue }
      let key = try KeyFile.readSecret(keyPath).pair.publicKey
      if listed.updateValue(name, forKey: key) == nil { try append("\(key) \(name)\n", to: listPath) }
    }
    changes.workerCount = listed.count
    return changes
  }

  static func check(name: String) throws {
    let isPlain =
      !name.isEmpty && name.utf8.count <= 100 && !name.hasPrefix(".") && !name.hasPrefix("-")
      && name.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 && $0 != "/" && $0 != "\"" }
    guard isPlain, name != "server" else {
      throw TransportError(
        "\"\(name)\" cannot name a worker's key: use letters, digits, dots, dashes and the like, and not `server`")
    }
  }

  func makeFolder(_ folder: String) throws {
    guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
      throw TransportError("\(folder): cannot be made: \(TransportError.text(of: errno))")
    }
  }

  func append(_ lines: String, to path: String) throws {
    let isNew = access(path, F_OK) != 0
    guard isNew || !lines.isEmpty else { return }
    let heading = "# Workers that may connect: a public key and a name a line. Read again whenever it changes.\n"
    guard let file = fopen(path, "a") else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
    let isWritten = fputs((isNew ? heading : "") + lines, file) >= 0
    guard fclose(file) == 0, isWritten else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
  }

  // MARK: Using

  /// Security of a learner: from DIR/learner, or from DIR itself where that is the learner's own folder.
  /// - Throws: `TransportError` when a file is missing or is not what it should be.
  public func serverSecurity() throws -> LoadedSecurity {
    let folder = access("\(learnerPath)/\(Self.serverKeyName)", F_OK) == 0 ? learnerPath : path
    guard access("\(folder)/\(Self.serverKeyName)", F_OK) == 0 else {
      throw TransportError(
        "\(path): holds neither learner/\(Self.serverKeyName) nor \(Self.serverKeyName); make the keys of a cluster with "
          + "`softgrpo keygen --cluster \(path)`")
    }
    return try .server(key: "\(folder)/\(Self.serverKeyName)", authorizedWorkers: "\(folder)/\(Self.allowListName)")
  }

  /// Security of a worker: from DIR/workers, or from DIR itself where that is the worker's own folder.
  ///
  /// The key is NAME.key where there is one; otherwise the first that no other process of this machine holds, so that workers
  /// started alike have keys of their own.
  /// - Throws: `TransportError` when a file is missing or is not what it should be, or every key is in use.
  public func clientSecurity(name: String?) throws -> LoadedSecurity {
    let folder = access("\(workersPath)/\(Self.serverPublicName)", F_OK) == 0 ? workersPath : path
    let serverPath = "\(folder)/\(Self.serverPublicName)"
    guard access(serverPath, F_OK) == 0 else {
      throw TransportError(
        "\(path): holds neither workers/\(Self.serverPublicName) nor \(Self.serverPublicName): the learner's public key is "
          + "missing. `softgrpo keygen --cluster` makes both")
    }
    if let name, (try? Self.check(name: name)) != nil, access("\(folder)/\(name).key", F_OK) == 0 {
      return try .client(key: "\(folder)/\(name).key", serverKey: serverPath)
    }
    let names = keyNames(in: folder)
    for name in names {
      guard let lock = KeyLock("\(folder)/\(name)") else { continue }
      var security = try LoadedSecurity.client(key: "\(folder)/\(name)", serverKey: serverPath)
      security.lock = lock
      return security
    }
    throw TransportError(
      names.isEmpty
        ? "\(folder): holds no worker's key; `softgrpo keygen --cluster DIR --workers N` makes some"
        : "\(folder): all \(names.count) workers' keys are held by other processes (or cannot be read); "
          + "`softgrpo keygen --cluster DIR --workers N` makes more")
  }

  /// NAME.key of every worker, numbers in their order.
  private func keyNames(in folder: String) -> [String] {
    entries(in: folder).filter { $0.hasSuffix(".key") && $0 != Self.serverKeyName }.sorted {
      ($0.count, $0) < ($1.count, $1)
    }
  }

  /// The list of the keys that may connect: of the cluster's folder, or of a learner's or relay's part of it.
  /// - Throws: `TransportError` when there is none.
  public var allowListPath: String {
    get throws {
      for folder in [learnerPath, path, "\(path)/downstream"] {
        let list = "\(folder)/\(Self.allowListName)"
        if access(list, F_OK) == 0 { return list }
      }
      throw TransportError("\(path): holds no \(Self.allowListName); `softgrpo keygen --cluster DIR` makes one")
    }
  }

  /// Names of everything in a folder, in no order; none where there is no folder.
  func entries(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}

/// Keys that were read, and what a person should know of them.
public struct LoadedSecurity: Sendable {
  public var security: SocketSecurity
  public var warnings: [String]
  /// What the key is called in its file; may be empty.
  public var name: String
  /// Held for as long as the key is used.
  var lock: KeyLock?

  /// - Throws: `TransportError` naming the file that is missing or is not what it should be.
  public static func server(key: String, authorizedWorkers: String) throws -> LoadedSecurity {
    let secret = try KeyFile.readSecret(key)
    return LoadedSecurity(
      security: .server(keys: secret.pair, allowed: try AllowList(path: authorizedWorkers)),
      warnings: [secret.warning].compactMap(\.self), name: secret.name)
  }

  /// - Parameter serverKey: the learner's public key, or a file that holds it.
  /// - Throws: `TransportError` naming the file that is missing or is not what it should be.
  public static func client(key: String, serverKey: String) throws -> LoadedSecurity {
    let secret = try KeyFile.readSecret(key)
    return LoadedSecurity(
      security: .client(keys: secret.pair, serverKey: try KeyFile.publicKey(serverKey)),
      warnings: [secret.warning].compactMap(\.self), name: secret.name)
  }
}

/// An advisory lock on a key's file: ends with its last owner, at the latest with the process.
final class KeyLock: Sendable {
  private let descriptor: Int32

  /// `nil` when another process holds it or the file cannot be opened.
  init?(_ path: String) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      return nil
    }
  }

  deinit { close(descriptor) }
}
