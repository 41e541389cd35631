extension GGUFFile {
  /// The scaling that a file states, or that reproduces the frequency factors which it holds instead.
  func ropeScaling(architecture: String, headDimension: Int, theta: Double) throws -> RopeScaling {
    func failure(_ reason: String) -> ModelFileError { ModelFileError(path: metadata.path, reason: reason) }
    let type = try metadata.string("\(architecture).rope.scaling.type") ?? "none"
    let factor =
      try metadata.number("\(architecture).rope.scaling.factor") ?? metadata.number("\(architecture).rope.scale_linear")
    guard let factors = tensors["rope_freqs.weight"] else {
      switch type {
      case "none": return .none
      case "linear": return factor.map { $0 == 1 ? .none : .linear(factor: $0) } ?? .none
      default: throw failure("the rope scaling '\(type)' is not supported; supported: none, linear, llama3")
      }
    }
    guard type == "none", factors.shape == [headDimension / 2] else {
      throw failure("rope_freqs.weight has shape \(factors.shape) under rope scaling '\(type)'; not supported")
    }
    var values = [Float](repeating: 0, count: headDimension / 2)
    try values.withUnsafeMutableBufferPointer { try factors.read(into: $0) }
    if values.allSatisfy({ $0 == 1 }) { return .none }
    // The file keeps the factors only. Llama 3.1 and later all use 1 and 4 for the band, and a power of two for the
    // original context: find the one that reproduces the factors.
    let largest = (values.max() ?? 1).rounded(toDecimal: 1e-3)
    let candidates = (4..<22).map { exponent -> (scaling: RopeScaling, error: Double) in
      let scaling = RopeScaling.llama3(
        factor: largest, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 1 << exponent)
      let expected = scaling.llama3Factors(headDimension: headDimension, theta: theta)
      return (scaling, zip(expected, values).map { abs($0 - Double($1)) / $0 }.max() ?? 0)
    }
    if let best = candidates.min(by: { $0.error < $1.error }), best.error <= 1e-4 { return best.scaling }
    throw failure(
      "the frequency factors in rope_freqs.weight are not those of Llama 3 scaling (low 1, high 4); "
        + "use the Hugging Face directory of the model instead")
  }
}

extension Float {
  /// The nearest multiple of `step` as a double, when it is as close as fp32 rounding; else the exact value.
  fileprivate func rounded(toDecimal step: Double) -> Double {
    let candidate = (Double(self) / step).rounded() * step
    return abs(candidate - Double(self)) <= 1e-6 * candidate ? candidate : Double(self)
  }
}
