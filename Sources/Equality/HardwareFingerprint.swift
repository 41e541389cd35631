import Kernels
import Machine
import Transformer

/// What decides the bits of a forward pass: equal fingerprints promise equal bits.
package func hardwareFingerprint(_ backend: any MatrixBackend) -> String {
  // A difference costs no more than that log-probs are recomputed, so whatever might matter is part of it.
  "\(ProcessorFeatures.identity); \(backend.arithmetic); build \(buildVersion) \(programIdentity)"
}
