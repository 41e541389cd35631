import Kernels

/// How far a recorded step is from what its noise key allows, without a forward pass (DESIGN 4).
///
/// - `reference`, `exact`: sum over the recorded components of exp(g' - nu eps) - 1e-6, less 1, with eps as it was used
///   (clamped under `reference`). Zero up to rounding, about 1e-6 per component, for an honest record.
/// - `concrete`: the cut components' values are not recorded; all that is known is g'_j < g'_max - m. The fed components
///   contribute exactly exp(g'_i - eps_i) = q_i (there is no epsilon), a cut one something in (0, exp(g'_max - m - eps_j)).
///   The residual is the signed distance of 1 from the interval these bounds allow: 0 inside it. With nothing cut this is
///   the plain identity.
/// - Kind `none` draws no noise: the residual of sum exp(log q) = 1.
///
/// A residual that is large (say beyond 1e-4), or NaN, says that the step was not sampled with this key, group, sample and
/// step, or was altered.
public func auditResidual(
  tokenIDs: UnsafeBufferPointer<Int32>, values: UnsafeBufferPointer<Float>, policy: ThinkingPolicy, noise: StepNoise
) -> Double {
  let count = min(tokenIDs.count, values.count)
  guard count > 0 else { return .nan }
  var sum = 0.0
  if policy.kind != .gumbel {
    for i in 0..<count { sum += PortableMath.exp(Double(values[i])) }
    return sum - 1
  }
  let concrete = policy.density == .concrete
  for i in 0..<count {
    let epsilon = Double(policy.noiseScale) * clampedNoise(tokenIDs[i], policy, noise)
    sum += PortableMath.exp(Double(values[i]) - epsilon) - (concrete ? 0 : GumbelDensity.epsilon)
  }
  guard concrete, tokenIDs.count > count else { return sum - 1 }
  let edge = Double(values[0]) - policy.cutMargin
  var upper = sum
  for i in count..<tokenIDs.count { upper += PortableMath.exp(edge - clampedNoise(tokenIDs[i], policy, noise)) }
  if sum > 1 { return sum - 1 }
  return upper < 1 ? upper - 1 : sum.isNaN || upper.isNaN ? .nan : 0
}
