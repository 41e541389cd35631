import Foundation
import WeightSync

/// SHA-256 of the program's own file (its Merkle root): a version number does not tell two builds apart.
let programIdentity: String = {
  guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped) else {
    // A build without an identity equals no other, and is recomputed for.
    return "of unknown identity \(UInt64.random(in: 1...UInt64.max))"
  }
  return bytes.withUnsafeBytes { "\(VersionHash.root(ofLeaves: VersionHash.leaves(of: $0)))" }
}()
