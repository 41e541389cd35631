/// A decoder-only transformer in Double, one sequence at a time, written from the equations: the twin of the packed pass.
public struct NaiveTransformer {
  public struct Shape {
    public var (hidden, heads, groups, width, feedForward, vocabulary) = (0, 0, 0, 0, 0, 0)
    public var epsilon = 1e-6
    public var inverseFrequencies: [Double] = []

    public init(
      hidden: Int, heads: Int, groups: Int, width: Int, feedForward: Int, vocabulary: Int, epsilon: Double,
      inverseFrequencies: [Double]
    ) {
      (self.hidden, self.heads, self.groups, self.width) = (hidden, heads, groups, width)
      (self.feedForward, self.vocabulary, self.epsilon) = (feedForward, vocabulary, epsilon)
      self.inverseFrequencies = inverseFrequencies
    }
  }

  /// Parameters by their Hugging Face name.
  public var parameters: [String: [Double]]
  public let shape: Shape
  public let layers: Int

  public init(shape: Shape, layers: Int, parameters: [String: [Double]]) {
    (self.shape, self.layers, self.parameters) = (shape, layers, parameters)
  }

  public var embeddings: [Double] { parameters["model.embed_tokens.weight"]! }
  public var head: [Double] { parameters["lm_head.weight"] ?? embeddings }

  /// The embedding rows of tokens.
  public func embed(_ tokens: [Int32]) -> [Double] {
    tokens.flatMap { embeddings[Int($0) * shape.hidden..<(Int($0) + 1) * shape.hidden] }
  }

  /// Logits (rows x vocabulary) of one sequence's input embeddings (rows x hidden).
  public func logits(_ inputs: [Double]) -> [Double] {
    let s = shape
    let rows = inputs.count / s.hidden
    var x = inputs
    for layer in 0..<layers {
      func weight(_ name: String) -> [Double] { parameters["model.layers.\(layer).\(name)"]! }
      func product(_ name: String, _ input: [Double], _ n: Int, _ k: Int) -> [Double] {
        var y = Naive.product(input, weight(name + ".weight"), rows: rows, n: n, k: k)
        if let bias = parameters["model.layers.\(layer).\(name).bias"] {
          for index in y.indices { y[index] += bias[index % n] }
        }
        return y
      }
      let normed = Naive.rmsNorm(x, weight("input_layernorm.weight"), epsilon: s.epsilon, rows: rows)
      var q = product("self_attn.q_proj", normed, s.heads * s.width, s.hidden)
      var k = product("self_attn.k_proj", normed, s.groups * s.width, s.hidden)
      let v = product("self_attn.v_proj", normed, s.groups * s.width, s.hidden)
      if let norm = parameters["model.layers.\(layer).self_attn.q_norm.weight"] {
        q = Naive.rmsNorm(q, norm, epsilon: s.epsilon, rows: rows * s.heads)
        k = Naive.rmsNorm(k, weight("self_attn.k_norm.weight"), epsilon: s.epsilon, rows: rows * s.groups)
      }
      var qkv: [Double] = []
      for row in 0..<rows {
        for head in 0..<s.heads { qkv += rotated(q, row * s.heads + head, row) }
        for head in 0..<s.groups { qkv += rotated(k, row * s.groups + head, row) }
        qkv += v[row * s.groups * s.width..<(row + 1) * s.groups * s.width]
      }
      let attention = Naive.attention(qkv, length: rows, heads: s.heads, groups: s.groups, width: s.width).out
      add(product("self_attn.o_proj", attention, s.hidden, s.heads * s.width), to: &x)
      let middle = Naive.rmsNorm(x, weight("post_attention_layernorm.weight"), epsilon: s.epsilon, rows: rows)
      let gate = product("mlp.gate_proj", middle, s.feedForward, s.hidden)
      let up = product("mlp.up_proj", middle, s.feedForward, s.hidden)
      let gateUp = (0..<rows).flatMap { row -> [Double] in
        let range = row * s.feedForward..<(row + 1) * s.feedForward
        return Array(gate[range]) + Array(up[range])
      }
      let activated = Naive.gatedUnit(gateUp, rows: rows, width: s.feedForward)
      add(product("mlp.down_proj", activated, s.hidden, s.feedForward), to: &x)
    }
    let hidden = Naive.rmsNorm(x, parameters["model.norm.weight"]!, epsilon: s.epsilon, rows: rows)
    return Naive.product(hidden, head, rows: rows, n: s.vocabulary, k: s.hidden)
  }

  private func rotated(_ x: [Double], _ head: Int, _ position: Int) -> [Double] {
    Naive.rotate(
      Array(x[head * shape.width..<(head + 1) * shape.width]), position: position,
      inverseFrequencies: shape.inverseFrequencies)
  }

  private func add(_ values: [Double], to x: inout [Double]) { for index in x.indices { x[index] += values[index] } }
}
