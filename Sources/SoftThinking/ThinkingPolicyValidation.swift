extension ThinkingPolicy {
  /// Most components a step may keep; recorded rows are held to it as well.
  public static let maximumTopK = 1024

  /// Checks every field's range and the combinations that have no density.
  ///
  /// - Throws: `SoftThinkingError` naming the key, its value and what it must be.
  public func validate() throws {
    guard topK >= 1, topK <= Self.maximumTopK else {
      throw SoftThinkingError("top_k is \(topK); it must be 1 to \(Self.maximumTopK)")
    }
    guard topP > 0, topP <= 1 else { throw SoftThinkingError("top_p is \(topP); it must be > 0 and <= 1") }
    guard minP >= 0, minP <= 1 else { throw SoftThinkingError("min_p is \(minP); it must be >= 0 and <= 1") }
    guard temperature > 0 || (temperature == 0 && kind == .discrete), temperature.isFinite else {
      throw SoftThinkingError(
        "temperature is \(temperature); it must be > 0" + (kind == .discrete ? ", or 0 for greedy tokens" : ""))
    }
    guard kind == .gumbel else { return }
    guard gumbelTemperature > 0, gumbelTemperature.isFinite else {
      throw SoftThinkingError("gumbel_temperature is \(gumbelTemperature); it must be > 0")
    }
    guard noiseScale > 0, noiseScale.isFinite else {
      throw SoftThinkingError("noise_scale is \(noiseScale); it must be > 0 (kind 'none' thinks without noise)")
    }
    guard density == .concrete else { return }
    guard noiseScale == 1 else {
      throw SoftThinkingError("noise_scale is \(noiseScale); density 'concrete' is defined for noise_scale 1 only")
    }
    guard mixtureFloor > 0, mixtureFloor < 1 else {
      throw SoftThinkingError("mixture_floor is \(mixtureFloor); it must be > 0 and < 1")
    }
  }
}
