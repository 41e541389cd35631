/// The prompts of a file that are kept from training: a hash of a prompt's id decides, so that a prompt is on the same side in
/// every run, on every machine and whatever is added to the file.
public struct HeldOutShare: Sendable, Equatable {
  /// Of the prompts, 0 (none) up to 1.
  public let fraction: Double

  public init(_ fraction: Double) { self.fraction = fraction }

  public func contains(_ prompt: Prompt) -> Bool {
    // FNV-1a over the id's UTF-8, mixed once so that ids which differ in their last digit are spread.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in prompt.id.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
    hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
    hash ^= hash >> 31
    return Double(hash >> 11) / Double(1 << 53) < fraction
  }
}
