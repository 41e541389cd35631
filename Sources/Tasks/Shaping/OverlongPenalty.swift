/// DAPO's soft overlong punishment (arXiv 2503.14476, equation 13): 0 up to `maximumLength - bufferLength` steps, from
/// there linearly down to -1 at `maximumLength`, -1 beyond.
///
/// Soft tokens: lengths count steps, soft and discrete alike.
public func overlongPenalty(length: Int, maximumLength: Int, bufferLength: Int) -> Float {
  let expected = maximumLength - bufferLength
  if length <= expected { return 0 }
  if length > maximumLength { return -1 }
  return Float(expected - length) / Float(bufferLength)
}
