import Kernels
import Training
import WeightSync
import Wire

extension ArrivedGradient {
  package enum Verdict {
    case good(GradientBuffer)
    /// The bytes are not those that were announced.
    case otherHash
    /// Or so large that its sum with others would not be.
    case notFinite

    /// For logs, after a name.
    package var complaint: String {
      switch self {
      case .good: "is as announced"
      case .otherHash: "does not have the hash that was announced"
      case .notFinite: "is not finite, or beyond any gradient"
      }
    }
  }

  /// Looks at every byte before anything is done with it.
  package func verified(team: ThreadTeam) -> Verdict {
    let bytes = UnsafeRawBufferPointer(payload.bytes)
    guard VersionHash.root(ofLeaves: VersionHash.leaves(of: bytes, team: team)).bytes == root else {
      return .otherHash
    }
    let gradient = payload.gradient(team: team)
    return gradient.isSummable(team: team) ? .good(gradient) : .notFinite
  }

  /// Of a scoring lease: there are no bytes to look at, and the log-probs were.
  package var withoutBytes: Verdict { root == Digest.zero.bytes ? .good(GradientBuffer(count: 0)) : .otherHash }

  /// Who computed each leaf.
  package var leafOrigins: [GradientOrigin] {
    origins.flatMap { origin in
      repeatElement(
        GradientOrigin(workerName: origin.workerName, fingerprint: origin.fingerprint, leafCount: 1),
        count: origin.leafCount)
    }
  }

  /// Whose it is, for logs: the worker, or the relay and the workers below it.
  package var source: String {
    let names = Set(origins.map(\.workerName)).sorted()
    if names == [workerName] { return "worker \(workerName)" }
    return "relay \(workerName) (computed by \(names.prefix(8).joined(separator: ", "))\(names.count > 8 ? ", …" : ""))"
  }
}
