import Logging
import RunConfiguration
import Transport

extension RunConfiguration {
  /// The keys of the learner's sockets, from `keys` or from the `learner` section; none when neither names any.
  /// - Parameter keys: folder that `softgrpo keygen --cluster` made; goes before the configuration.
  /// - Throws: `TransportError` naming the file that is not what it should be; `ClusterError` for a public endpoint without keys
  ///   or permission, and for keys together with that permission.
  public func learnerSecurity(keys: String?, allowInsecure: Bool, logger: Logger) throws -> SocketSecurity {
    var loaded: LoadedSecurity?
    if let keys {
      loaded = try KeyDirectory(keys).serverSecurity()
    } else if let key = learner.serverKey, let list = learner.authorizedWorkers {
      loaded = try .server(key: key, authorizedWorkers: list)
    }
    for warning in loaded?.warnings ?? [] { logger.warning("\(warning)") }
    if let loaded {
      guard !allowInsecure else {
        throw ClusterError("--insecure: contradicts the keys that are given; leave one of them away")
      }
      return loaded.security
    }
    for endpoint in try [learner.controlEndpoint, learner.broadcastEndpoint].map({ try Endpoint($0) })
    where !endpoint.isLocal && !allowInsecure {
      throw endpoint.refusalWithoutKeys
    }
    return .none
  }
}

/// The keys of a worker's link, from a folder or from two files; none when neither is given.
/// - Throws: `TransportError` naming the file that is not what it should be; `ClusterError` for half of what is needed, and for a
///   public endpoint without keys or permission.
public func workerSecurity(
  connecting endpoint: String, name: String?, keys: String?, key: String?, serverKey: String?, allowInsecure: Bool,
  logger: Logger
) throws -> LoadedSecurity? {
  guard (key == nil) == (serverKey == nil) else {
    throw ClusterError(
      key == nil
        ? "--server-key: needs --key too, this worker's own secret key file"
        : "--key: needs --server-key too, the learner's public key or its file")
  }
  guard keys == nil || key == nil else { throw ClusterError("--keys: give the folder, or --key and --server-key") }
  let loaded: LoadedSecurity? =
    if let keys {
      try KeyDirectory(keys).clientSecurity(name: name)
    } else if let key, let serverKey {
      try .client(key: key, serverKey: serverKey)
    } else {
      nil
    }
  for warning in loaded?.warnings ?? [] { logger.warning("\(warning)") }
  if loaded == nil, try !Endpoint(endpoint).isLocal, !allowInsecure {
    throw ClusterError(
      "\(endpoint): the way there leads over a network, and without keys nothing on it is encrypted or authenticated: give "
        + "--keys, or --key and --server-key (`softgrpo keygen` makes them); or --insecure on a network you trust")
  }
  if loaded != nil && allowInsecure {
    throw ClusterError("--insecure: contradicts the keys that are given; leave one of them away")
  }
  return loaded
}
