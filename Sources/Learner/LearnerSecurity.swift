import Logging
import RunConfiguration
import Sessions
import Transport

extension LearnerEndpoints {
  /// The keys of the learner's sockets, from `keys` or from the `learner` section; none when neither names any.
  /// - Parameter keys: folder that `softgrpo keygen --cluster` made; goes before the configuration.
  /// - Throws: `TransportError` naming the file that is not what it should be; `RoleError` for a public endpoint without keys
  ///   or permission, and for keys together with that permission.
  public func security(keys: String?, allowInsecure: Bool, logger: Logger) throws -> SocketSecurity {
    var loaded: LoadedSecurity?
    if let keys {
      loaded = try KeyDirectory(keys).serverSecurity()
    } else if let key = serverKey, let list = authorizedWorkers {
      loaded = try .server(key: key, authorizedWorkers: list)
    }
    for warning in loaded?.warnings ?? [] { logger.warning("\(warning)") }
    if let loaded {
      guard !allowInsecure else {
        throw RoleError("--insecure: contradicts the keys that are given; leave one of them away")
      }
      return loaded.security
    }
    for endpoint in try [controlEndpoint, broadcastEndpoint].map({ try Endpoint($0) })
    where !endpoint.isLocal && !allowInsecure {
      throw endpoint.refusalWithoutKeys
    }
    return .none
  }
}
