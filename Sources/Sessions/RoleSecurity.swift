import Logging
import Transport

/// The keys of a worker's link, from a folder or from two files; none when neither is given.
/// - Throws: `TransportError` naming the file that is not what it should be; `RoleError` for half of what is needed, and for a
///   public endpoint without keys or permission.
public func workerSecurity(
  connecting endpoint: String, name: String?, keys: String?, key: String?, serverKey: String?, allowInsecure: Bool,
  isRelay: Bool = false, logger: Logger
) throws -> LoadedSecurity? {
  guard (key == nil) == (serverKey == nil) || keys != nil && key == nil else {
    throw RoleError(
      key == nil
        ? "--server-key: needs --key too, this worker's own secret key file"
        : "--key: needs --server-key too, the learner's public key or its file")
  }
  guard keys == nil || key == nil else { throw RoleError("--keys: give the folder, or --key and --server-key") }
  let loaded: LoadedSecurity? =
    if let keys {
      isRelay && KeyDirectory(keys).holdsRelays
        ? try KeyDirectory(keys).relaySecurity(name: name).upstream : try KeyDirectory(keys).clientSecurity(name: name)
    } else if let key, let serverKey {
      try .client(key: key, serverKey: serverKey)
    } else {
      nil
    }
  for warning in loaded?.warnings ?? [] { logger.warning("\(warning)") }
  if loaded == nil, try !Endpoint(endpoint).isLocal, !allowInsecure {
    throw RoleError(
      "\(endpoint): the way there leads over a network, and without keys nothing on it is encrypted or authenticated: give "
        + "--keys, or --key and --server-key (`softgrpo keygen` makes them); or --insecure on a network you trust")
  }
  if loaded != nil && allowInsecure {
    throw RoleError("--insecure: contradicts the keys that are given; leave one of them away")
  }
  return loaded
}

/// The keys of a relay's own sockets, from a learner's folder, from two files, or from the folder of its keys in both
/// directions; none when none of these is given.
/// - Throws: as `LearnerEndpoints.security`.
public func relaySecurity(
  binding endpoints: [String], keys: String?, key: String?, authorizedWorkers: String?, ownKeys: String? = nil,
  name: String? = nil, allowInsecure: Bool, logger: Logger
) throws -> SocketSecurity {
  guard (key == nil) == (authorizedWorkers == nil) else {
    throw RoleError(
      key == nil
        ? "--authorized-workers: needs --bind-key too, the secret key file that this relay's workers know the public half of"
        : "--bind-key: needs --authorized-workers too, the file of the keys that may connect")
  }
  guard keys == nil || key == nil else {
    throw RoleError("--bind-keys: give the folder, or --bind-key and --authorized-workers")
  }
  let loaded: LoadedSecurity? =
    if let keys {
      try KeyDirectory(keys).serverSecurity()
    } else if let key, let authorizedWorkers {
      try .server(key: key, authorizedWorkers: authorizedWorkers)
    } else if let ownKeys, KeyDirectory(ownKeys).holdsRelays {
      try KeyDirectory(ownKeys).relaySecurity(name: name).downstream
    } else {
      nil
    }
  for warning in loaded?.warnings ?? [] { logger.warning("\(warning)") }
  if let loaded {
    guard !allowInsecure else {
      throw RoleError("--insecure: contradicts the keys that are given; leave one of them away")
    }
    return loaded.security
  }
  for endpoint in try endpoints.map({ try Endpoint($0) }) where !endpoint.isLocal && !allowInsecure {
    throw endpoint.refusalWithoutKeys
  }
  return .none
}

/// The places that a worker or relay may attach to, each with its keys.
/// - Parameter serverKeys: one for all endpoints, or one for each, in their order. With --keys they may be names of that folder
///   (`server`, or a relay's); none is the learner's.
/// - Returns: at least one attachment, and what holds the key.
/// - Throws: as `workerSecurity`; `RoleError` when the numbers do not fit.
public func workerAttachments(
  connecting endpoints: [String], name: String?, keys: String?, key: String?, serverKeys: [String],
  allowInsecure: Bool, isRelay: Bool = false, logger: Logger
) throws -> (attachments: [Attachment], keys: LoadedSecurity?) {
  guard let first = endpoints.first else { throw RoleError("--connect: is missing") }
  guard serverKeys.count <= 1 || serverKeys.count == endpoints.count else {
    throw RoleError(
      "--server-key: \(serverKeys.count) keys for \(endpoints.count) --connect endpoints; give one for all or one for each"
    )
  }
  // The one that other machines can reach decides whether keys are needed.
  let exposed = try endpoints.first { try !Endpoint($0).isLocal } ?? first
  let loaded = try workerSecurity(
    connecting: exposed, name: name, keys: keys, key: key, serverKey: serverKeys.first, allowInsecure: allowInsecure,
    isRelay: isRelay, logger: logger)
  return (
    try endpoints.enumerated().map { index, endpoint in
      guard let loaded, case .client(let own, _) = loaded.security, !serverKeys.isEmpty else {
        return Attachment(endpoint: endpoint, security: loaded?.security ?? .none)
      }
      let text = serverKeys[serverKeys.count == 1 ? 0 : index]
      let server =
        try keys.map { try KeyDirectory($0).serverKey(text, isRelay: isRelay, name: name) } ?? KeyFile.publicKey(text)
      return Attachment(endpoint: endpoint, security: .client(keys: own, serverKey: server))
    }, loaded
  )
}
