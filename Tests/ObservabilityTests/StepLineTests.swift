import Testing

@testable import Observability

@Suite struct StepLineTests {
  private let record = MetricsRecord(
    step: 12, time: 0,
    metrics: [
      MetricName.rewardMean: 0.53125, "reward/math/mean": 0.5, "reward/format/mean": 1,
      MetricName.thinkingLengthMean: 24,
      MetricName.completionLengthMean: 29.44, MetricName.completionLengthClipRatio: 0.125,
      MetricName.referenceKLLoss: 0.0123,
      MetricName.entropy: 1.5, MetricName.softnessLargestWeight: 0.91, MetricName.gradientNorm: 0.25,
      MetricName.tokensPerSecond: 1234.4, MetricName.offPolicyMean: 0.5, MetricName.offPolicyMaximum: 1,
      MetricName.timeStep: 3.14, "eval/gumbel/pass@1": 0.4,
    ])

  @Test func itHoldsEveryFigure() {
    #expect(
      StepLine(totalSteps: 80).text(record, secondsLeft: 185)
        == "step 12/80, reward 0.531 (format 1.000, math 0.500), thinking 24.0, length 29.4, cut 12 %, KL 0.0123, "
        + "entropy 1.500, top weight 0.910, grad 0.250, 1234 tok/s, staleness 0.50, step 3.1 s, eval/gumbel/pass@1 0.400, "
        + "3 min 05 s left")
  }

  @Test(arguments: [200, 120, 80, 60, 40, 20, 9, 1]) func itFitsAnyWidth(_ width: Int) {
    let text = StepLine(totalSteps: 80).text(record, secondsLeft: 185, width: width)
    #expect(text.count <= width)
    #expect(text.hasPrefix(String("step 12/80".prefix(width))))
    if width >= 60 { #expect(text.contains("reward 0.531") && text.hasSuffix("3 min 05 s left")) }
  }

  @Test func aSingleRewardIsNotSaidTwice() {
    let text = StepLine(totalSteps: 0).text(
      MetricsRecord(step: 1, time: 0, metrics: [MetricName.rewardMean: 0.5, "reward/math/mean": 0.5]))
    #expect(text == "step 1, reward 0.500")
  }
}
