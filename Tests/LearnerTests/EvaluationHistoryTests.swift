import JSON
import Testing

@testable import Learner

@Suite struct EvaluationHistoryTests {
  private func line(_ step: Int, _ value: JSONValue, during: Bool = true) -> JSONValue {
    .members(["step": .integer(step), "during": .bool(during), "metrics": .members(["m": value])])
  }

  @Test func theBestStaysUntilABetterOne() {
    var history = EvaluationHistory(metric: "m")
    let steps = [(10, 0.5), (20, 0.5), (30, .nan), (40, 0.6)]
    let isBest = steps.map { history.receive(step: $0.0, value: $0.1) }
    #expect(isBest == [true, false, false, true])
    #expect(history.best?.step == 40 && history.sinceBest == 0)
    _ = history.receive(step: 50, value: 0.6)
    #expect(history.best?.step == 40 && history.sinceBest == 1)
  }

  @Test func aResumedRunGoesOnWithIt() {
    let lines = [
      line(0, .decimal(0.9), during: false), line(10, .decimal(0.5)), line(20, .decimal(0.4)),
      .members(["step": .integer(30), "during": .bool(true)]),
    ]
    var expected = EvaluationHistory(metric: "m")
    _ = expected.receive(step: 10, value: 0.5)
    _ = expected.receive(step: 20, value: 0.4)
    #expect(EvaluationHistory(metric: "m", lines: lines) == expected)
  }
}
