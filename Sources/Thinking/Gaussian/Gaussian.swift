import Kernels
import Parameters

/// Soft Tokens, Hard Truths (2509.19170): the mixture of all embeddings by their probabilities, plus normal noise.
///
/// x = mu + sigma eps, mu = sum_v p_v E_v, p = softmax(z / T), eps ~ N(0, I). A record's values are sigma, then the d components
/// of x; its id is the likeliest token, under `mixture_top_k` followed by the others of the mixture by falling logit. Thinking
/// ends when the likeliest token is an end token. The logits alone decide that, so that the end has no probability and is not
/// scored: it is fed as forced text is.
struct Gaussian: ThinkingPart, VectorSteps {
  /// What the noise is measured in.
  enum Unit: String, CaseIterable {
    /// The root mean square of the embeddings' entries, under the weights that sample.
    case embedding
    case absolute
  }

  static let name = "gaussian"
  static let summary = "Soft Tokens (2509.19170): the mixture of the vocabulary's embeddings, plus normal noise."
  static let sigma = Parameter.number(
    "noise_sigma", 0.33, .above(0, upTo: 1000),
    "`gaussian`, `fuzzy`: standard deviation of the noise on each component of the input.")
  private static let temperature = Parameter.number(
    "temperature", 0.5, .above(0, upTo: 100), "Softmax temperature T of the logits while thinking.")
  static let noiseParameters = [
    sigma,
    Parameter.choice(
      "noise_unit", Unit.embedding.rawValue, of: Unit.allCases.map(\.rawValue),
      "`gaussian`, `fuzzy`: what `noise_sigma` is measured in, `embedding` (the root mean square of the embeddings' entries) or "
        + "`absolute`."),
    Parameter.integer(
      "mixture_top_k", 0, 0...Truncation.maximumTopK,
      "`gaussian`, `fuzzy`: tokens of the mixture; 0: the whole vocabulary, as published."),
  ]
  static let parameters = [temperature] + noiseParameters
  static let noiseParameter: String? = "noise_sigma"
  static let variants: [[String: ParameterValue]] = [
    [:], ["mixture_top_k": .integer(8), "temperature": .number(1)],
    ["noise_unit": .text(Unit.absolute.rawValue), "noise_sigma": .number(0.1)],
  ]

  /// A token whose logit is further below the largest than so many temperatures is left out of a mixture over the vocabulary: its
  /// weight is below 4e-11 of the largest, less than what single precision keeps of the sum.
  static let margin = 24.0
  /// Bounds of what a record may hold: beyond them a score could overflow.
  private static let sigmas: ClosedRange<Float> = 1e-6...1e6
  private static let components: ClosedRange<Float> = -1e6...1e6

  let temperature: Float
  let noiseSigma: Float
  let unit: Unit
  let candidateCount: Int?

  init(_ values: ParameterValues) throws { try self.init(values, temperature: Self.temperature) }

  init(_ values: ParameterValues, temperature parameter: Parameter) throws {
    temperature = try values.float(parameter)
    noiseSigma = try values.float(Self.sigma)
    unit = Unit(rawValue: values.text("noise_unit")) ?? .embedding
    let k = values.integer("mixture_top_k")
    candidateCount = k == 0 ? nil : k
    if unit == .absolute, !Self.sigmas.contains(noiseSigma) {
      throw ParameterError("noise_sigma: must be at least 1e-6 when noise_unit is absolute, got \(noiseSigma)")
    }
  }

  var view: ThinkingView { .vector(self) }
  /// Of a thinking token in a file; the sampler records none.
  var scoringTemperature: Float { 1 }
  var recordWidth: Int { candidateCount ?? 1 }

  func input(of record: StepRecord) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(rebasing: record.values.dropFirst())
  }

  func problem(with record: StepRecord) -> String? {
    if record.values.count < 2 {
      return "\(record.values.count) values; a step has its sigma and the fed vector"
    }
    for i in record.ids.indices where record.ids[..<i].contains(record.ids[i]) {
      return "token id \(record.ids[i]) appears twice"
    }
    if !(record.values[0] > 0) { return "its sigma is \(record.values[0]), which must be above 0" }
    if unit == .absolute, record.values[0] != noiseSigma {
      return "its sigma is \(record.values[0]), but policy.noise_sigma is \(noiseSigma)"
    }
    return nil
  }

  func unusableValue(in record: StepRecord) -> Float? {
    guard let sigma = record.values.first else { return nil }
    if !Self.sigmas.contains(sigma) { return sigma }
    return input(of: record).first { !Self.components.contains($0) }
  }

  func support(of row: UnsafeBufferPointer<Float>, ids: inout [Int32], logits: inout [Float]) throws {
    let lowest = Float(Double(try finiteMaximum(row).value) - Self.margin * Double(temperature))
    ids.removeAll(keepingCapacity: true)
    logits.removeAll(keepingCapacity: true)
    for id in row.indices where row[id] >= lowest {
      ids.append(Int32(id))
      logits.append(row[id])
    }
  }

  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable,
    embeddingScale: Float, noise: StepNoise, into step: inout SoftStep
  ) throws {
    let sigma = unit == .embedding ? noiseSigma * embeddingScale : noiseSigma
    guard Self.sigmas.contains(sigma) else {
      throw ThinkingError(
        "the noise's standard deviation is \(sigma), out of \(Self.sigmas); choose another noise_sigma")
    }
    var best = 0
    for i in logits.indices {
      guard !logits[i].isNaN, logits[i] != .infinity else {
        throw ThinkingError(
          "the logit of token \(tokenIDs[i]) is \(logits[i]); the model's weights or activations have overflowed")
      }
      if logits[i] > logits[best] || (logits[i] == logits[best] && tokenIDs[i] < tokenIDs[best]) { best = i }
    }
    guard logits[best].isFinite else { throw ThinkingError("every candidate's logit is -infinity") }
    step.removeRecord()
    if candidateCount == nil {
      step.tokenIDs.append(tokenIDs[best])
      step.logits.append(logits[best])
    } else {
      for i in logits.indices.sorted(by: {
        logits[$0] != logits[$1] ? logits[$0] > logits[$1] : tokenIDs[$0] < tokenIDs[$1]
      }) {
        step.tokenIDs.append(tokenIDs[i])
        step.logits.append(logits[i])
      }
    }
    step.values.append(sigma)
    // The mean of the draw is that of the score: the same function of the same logits.
    func complete(_ ids: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>) -> Float {
      withMean(ids, logits, embeddings) { mean, q in
        for i in 0..<embeddings.width {
          step.values.append(Float(Double(mean[i]) + Double(sigma) * noise.normal(Int32(i))))
        }
        for i in step.tokenIDs.indices {
          step.weights.append(Float(candidateCount == nil ? q[best] : q[i]))
        }
        return step.values.withUnsafeBufferPointer {
          logDensity(of: UnsafeBufferPointer(rebasing: $0.dropFirst()), around: mean, sigma: sigma)
        }
      }
    }
    let score: Float
    if candidateCount == nil {
      score = complete(tokenIDs, logits)
    } else {
      let (ids, ordered) = (step.tokenIDs, step.logits)
      score = ids.withUnsafeBufferPointer { ids in ordered.withUnsafeBufferPointer { complete(ids, $0) } }
    }
    step.logProbs.append(score)
  }
}
