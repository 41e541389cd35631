import JSON
import Testing

@testable import Learner

@Suite struct EvaluationHistoryTests {
  private func line(_ step: Int, _ value: JSONValue, during: Bool = true) -> JSONValue {
    .members(["step": .integer(step), "during": .bool(during), "metrics": .members(["m": value])])
  }

  @Test func theBestStaysUntilABetterOne() {
    var history = EvaluationHistory(metric: "m")
    #expect(history.receive(step: 10, value: 0.5))
    #expect(!history.receive(step: 20, value: 0.5))
    #expect(!history.receive(step: 30, value: .nan))
    #expect(history.best?.step == 10 && history.sinceBest == 2)
    #expect(history.receive(step: 40, value: 0.6) && history.sinceBest == 0)
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
