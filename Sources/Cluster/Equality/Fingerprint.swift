import Foundation
import Kernels
import WeightSync

/// What decides the bits of a forward pass: processor, arithmetic, and the program itself. Equal fingerprints promise equal
/// bits; a difference costs no more than that log-probs are recomputed, so whatever might matter is part of it.
func hardwareFingerprint(_ backend: any MatrixBackend) -> String {
  "\(ProcessorFeatures.identity); \(backend.arithmetic); build \(buildVersion) \(programIdentity)"
}

/// The version of this build, part of the fingerprint.
public let buildVersion = "0.1.0"

/// SHA-256 of the program's own file (its Merkle root): a version number does not tell two builds apart.
private let programIdentity: String = {
  guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped) else {
    // Without a name of its own a build equals no other, and is recomputed for.
    return "of unknown identity \(UInt64.random(in: 1...UInt64.max))"
  }
  return bytes.withUnsafeBytes { "\(VersionHash.root(ofLeaves: VersionHash.leaves(of: $0)))" }
}()
