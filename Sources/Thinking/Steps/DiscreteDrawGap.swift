import Kernels

/// By how many nats a token comes after the one that its noise draws from a row: z / T + eps of the drawn token less that of this one; 0
/// where it is the drawn one.
///
/// Other arithmetic moves z / T a little, and what is drawn by no more than that. A token outside the truncation, which no draw gives,
/// counts 0 where its noise is larger than what it lacks; that is as rare as the token.
///
/// - Throws: as `sampleDiscreteToken`.
public func discreteDrawGap(
  row: UnsafeBufferPointer<Float>, sampling: DiscreteSampling, noise: StepNoise, tokenID: Int32
) throws -> Float {
  let drawn = try sampleDiscreteToken(row: row, sampling: sampling, noise: noise)
  guard drawn != tokenID else { return 0 }
  guard row.indices.contains(Int(tokenID)) else { return .infinity }
  if sampling.temperature == 0 { return row[Int(drawn)] - row[Int(tokenID)] }
  let scaled = (row[Int(drawn)] - row[Int(tokenID)]) / sampling.temperature
  return max(0, scaled + noise.gumbel(drawn) - noise.gumbel(tokenID))
}
