import Kernels
import Parameters

/// The distribution that a step is drawn from: softmax at a temperature, then top-k, top-p and min-p. The parameters of every
/// policy that draws from it.
package struct Truncation: Sendable {
  /// Most components a step may keep; recorded rows are held to it as well.
  package static let maximumTopK = 1024

  static let topK = Parameter.integer(
    "top_k", 5, 1...maximumTopK,
    "Components of a thinking step; `discrete`: tokens that it may choose among, 0: the whole vocabulary.")
  static let topP = Parameter.number(
    "top_p", 0.95, .above(0, upTo: 1),
    "A component is kept while the cumulative probability before it is at most this.")
  static let minP = Parameter.number(
    "min_p", 0, .between(0, 1), "Components below this share of the largest probability are removed; 0 removes none.")
  static let temperature = Parameter.number(
    "temperature", 1, .above(0, upTo: 100), "Softmax temperature T of the logits while thinking.")
  static let parameters = [topK, topP, minP, temperature]

  let topK: Int
  let topP: Float
  let minP: Float
  let temperature: Float

  /// - Throws: `ParameterError` for a number that leaves its range in single precision.
  init(_ values: ParameterValues, temperature parameter: Parameter = Self.temperature) throws {
    topK = values.integer("top_k")
    topP = try values.float(Self.topP)
    minP = try values.float(Self.minP)
    temperature = try values.float(parameter)
  }

  private init(topK: Int, topP: Float, minP: Float, temperature: Float) {
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.temperature = temperature
  }

  func with(topK: Int) -> Truncation { Truncation(topK: topK, topP: topP, minP: minP, temperature: temperature) }

  /// Loads the candidates, largest logit first, ties by id, and gives them q: softmax at the temperature, then top-p (kept
  /// while the cumulative probability before is <= top_p), then min-p, renormalised after each. Removed ones get 0.
  ///
  /// - Throws: as `SoftSteps.draw`.
  func load(
    _ tokenIDs: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>, into order: inout [SoftStep.Component]
  ) throws {
    guard tokenIDs.count == logits.count, !tokenIDs.isEmpty else {
      throw ThinkingError("a soft step has \(tokenIDs.count) candidates but \(logits.count) logits")
    }
    order.removeAll(keepingCapacity: true)
    var hasFinite = false
    for i in 0..<logits.count {
      let logit = logits[i]
      guard !logit.isNaN, logit != .infinity else {
        throw ThinkingError(
          "the logit of token \(tokenIDs[i]) is \(logit.isNaN ? "NaN" : "infinite"); the model's weights or activations "
            + "have overflowed")
      }
      hasFinite = hasFinite || logit.isFinite
      order.append(.init(tokenID: tokenIDs[i], logit: logit, probability: 0, value: 0))
    }
    guard hasFinite else { throw ThinkingError("every candidate's logit is -infinity") }
    sort(&order) { $0.logit != $1.logit ? $0.logit > $1.logit : $0.tokenID < $1.tokenID }
    truncate(&order)
  }

  private func truncate(_ order: inout [SoftStep.Component]) {
    let largest = Double(order[0].logit)
    for i in order.indices {
      order[i].probability = PortableMath.exp((Double(order[i].logit) - largest) / Double(temperature))
    }
    renormalize(&order)
    if topP < 1 {
      var before = 0.0
      for i in order.indices {
        let probability = order[i].probability
        if before > Double(topP) { order[i].probability = 0 }
        before += probability
      }
      renormalize(&order)
    }
    if minP > 0 {
      let threshold = order[0].probability * Double(minP)
      for i in order.indices where order[i].probability < threshold { order[i].probability = 0 }
      renormalize(&order)
    }
  }

  private func renormalize(_ order: inout [SoftStep.Component]) {
    var sum = 0.0
    for component in order { sum += component.probability }
    for i in order.indices { order[i].probability /= sum }
  }
}

extension ParameterValues {
  /// A number in the precision in which steps are drawn and scored.
  ///
  /// - Throws: `ParameterError` when it leaves its range there.
  func float(_ parameter: Parameter) throws -> Float {
    let value = number(parameter.name)
    guard parameter.normalized(.number(Double(Float(value)))) != nil else {
      throw ParameterError(
        "\(parameter.name): must be \(parameter.expectation) in single precision, got \(plainNumber(value))")
    }
    return Float(value)
  }
}

/// Insertion sort: k is small and the candidates arrive almost in order.
func sort(_ order: inout [SoftStep.Component], by precedes: (SoftStep.Component, SoftStep.Component) -> Bool) {
  guard order.count <= 64 else { return order.sort(by: precedes) }
  for i in order.indices.dropFirst() {
    let moving = order[i]
    var slot = i
    while slot > 0 && precedes(moving, order[slot - 1]) {
      order[slot] = order[slot - 1]
      slot -= 1
    }
    order[slot] = moving
  }
}
