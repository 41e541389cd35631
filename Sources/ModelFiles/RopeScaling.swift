import Foundation
import JSON

/// How rotary frequencies are changed for contexts longer than those of pre-training.
public enum RopeScaling: Sendable, Equatable {
  case none
  /// Llama 3.1: wavelengths above `originalContextLength / lowFrequencyFactor` are divided by `factor`, those below
  /// `originalContextLength / highFrequencyFactor` are kept, those between are blended.
  case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContextLength: Int)
  /// Every frequency is divided by `factor`.
  case linear(factor: Double)

  /// Why the numbers cannot be computed with; nil: they can.
  var problem: String? {
    func range(_ factor: Double) -> String? {
      factor.isFinite && factor >= 1 && factor <= 1e6
        ? nil : "the rope scaling factor is \(factor); expected 1 to 1e6"
    }
    switch self {
    case .none: return nil
    case .linear(let factor): return range(factor)
    case .llama3(let factor, let low, let high, let original):
      if let problem = range(factor) { return problem }
      guard low > 0 && high > low && high <= 1e6 else {
        return "rope scaling needs 0 < low_freq_factor < high_freq_factor; they are \(low) and \(high)"
      }
      let contexts = 1...1 << 28
      return contexts.contains(original)
        ? nil
        : "original_max_position_embeddings is \(original); it must be between \(contexts.lowerBound) and "
          + "\(contexts.upperBound)"
    }
  }

  /// What each of the `headDimension / 2` rotary frequencies is divided by under Llama 3 scaling; 1 under any other.
  func llama3Factors(headDimension: Int, theta: Double) -> [Double] {
    guard case .llama3(let factor, let low, let high, let original) = self else {
      return Array(repeating: 1, count: headDimension / 2)
    }
    return (0..<headDimension / 2).map { pair in
      let wavelength = 2 * Double.pi * pow(theta, 2 * Double(pair) / Double(headDimension))
      if wavelength < Double(original) / high { return 1 }
      if wavelength > Double(original) / low { return factor }
      let smooth = (Double(original) / wavelength - low) / (high - low)
      return 1 / ((1 - smooth) / factor + smooth)
    }
  }

  /// The `rope_scaling` of a Hugging Face `config.json`.
  var huggingFaceJSON: JSONValue {
    switch self {
    case .none: .null
    case .linear(let factor): .members(["rope_type": "linear", "factor": .decimal(factor)])
    case .llama3(let factor, let low, let high, let original):
      .members([
        "rope_type": "llama3", "factor": .decimal(factor), "low_freq_factor": .decimal(low),
        "high_freq_factor": .decimal(high), "original_max_position_embeddings": .integer(original),
      ])
    }
  }
}
