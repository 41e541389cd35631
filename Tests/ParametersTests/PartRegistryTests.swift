import Parameters
import Testing

private struct Gate: Part {
  static let name = "gate"
  static let summary = "A part for tests."
  static let parameters: [Parameter] = [
    .number("tau", 1, .above(0), "Steepness."),
    .optionalNumber("bound", nil, .atLeast(1), "Largest value."),
    .integer("width", 2, 1...8, "Draws."),
    .choice("form", "mean", of: ["mean", "sum"], "How draws are reduced."),
    .flag("strict", false, "Whether it is strict."),
  ]
  var tau: Double
  var bound: Double?
  init(_ values: ParameterValues) {
    tau = values.number("tau")
    bound = values.optionalNumber("bound")
  }
}

private struct Plain: Part {
  static let name = "plain"
  static let summary = "A part without parameters."
  static let parameters: [Parameter] = []
  init(_ values: ParameterValues) {}
}

private let registry = PartRegistry<any Part>(
  "objective",
  [any Part.Type]([Gate.self, Plain.self]).map { type in
    .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
  })

private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch {
    return "\(error)"
  }
}

@Suite struct PartRegistryTests {
  @Test func defaultsAreFilledInAndIntegersBecomeNumbers() throws {
    let part = try registry.describe("gate", ["tau": .integer(3)])
    #expect(part.values["tau"] == .number(3))
    #expect(part.values["bound"] == .null)
    #expect(part.values["width"] == .integer(2))
    let gate = try #require(try registry.make(part) as? Gate)
    #expect(gate.tau == 3 && gate.bound == nil)
  }

  @Test func unknownNamesGetTheNearest() {
    #expect(
      message { _ = try registry.describe("gat") }
        == "objective 'gat' is unknown; did you mean 'gate'? Known: gate, plain")
    #expect(message { _ = try registry.describe("gate", ["wdith": .number(1)]) }.contains("did you mean 'width'?"))
  }

  /// Of another part of the kind: a file that names both parts' keys stays good for either.
  @Test func parametersOfOtherPartsAreIgnored() throws {
    #expect(try registry.describe("plain", ["tau": .number(2)]).values == ParameterValues())
  }

  @Test func valuesOutOfRangeAreRefusedByKey() {
    #expect(
      message { _ = try registry.describe("gate", ["tau": .number(0)], prefix: "learner.") }
        == "learner.tau: must be a number above 0, got 0.0")
    #expect(message { _ = try registry.describe("gate", ["form": .text("max")]) }.contains("one of mean, sum"))
    #expect(message { _ = try registry.describe("gate", ["width": .number(2)]) }.contains("an integer of 1 to 8"))
    #expect(message { _ = try registry.describe("gate", ["tau": .number(.nan)]) }.contains("above 0"))
  }

  /// What comes from a peer is taken whole or not at all: another build's part is another part.
  @Test func descriptionsOfOtherBuildsAreRefused() throws {
    var more = try registry.describe("gate")
    more.values["speed"] = .number(1)
    #expect(message { _ = try registry.make(more) }.contains("has no parameter speed in this build"))
    var fewer = try registry.describe("gate")
    fewer.values["tau"] = nil
    #expect(message { _ = try registry.make(fewer) }.contains("came without its parameter tau"))
    var other = try registry.describe("gate")
    other.values["tau"] = .integer(1)
    #expect(message { _ = try registry.make(other) }.contains("tau must be a number above 0"))
  }

  @Test func canonicalTextTellsEveryValueApart() throws {
    let base = try registry.describe("gate")
    let others: [[String: ParameterValue]] = [
      ["tau": .number(1.0.nextUp)], ["bound": .number(1)], ["width": .integer(3)], ["form": .text("sum")],
      ["strict": .flag(true)],
    ]
    let texts = [base.canonicalText] + (try others.map { try registry.describe("gate", $0).canonicalText })
    #expect(Set(texts).count == texts.count)
    #expect(base.canonicalText == (try registry.describe("gate").canonicalText))
  }

  @Test func textIsReadByKind() {
    let parameters = Dictionary(uniqueKeysWithValues: Gate.parameters.map { ($0.name, $0) })
    #expect(parameters["tau"]?.value(parsing: "2") == .number(2))
    #expect(parameters["bound"]?.value(parsing: "null") == .null)
    #expect(parameters["bound"]?.value(parsing: "0.5") == nil)
    #expect(parameters["width"]?.value(parsing: "9") == nil)
    #expect(parameters["strict"]?.value(parsing: "yes") == nil)
    #expect(parameters["form"]?.value(parsing: "sum") == .text("sum"))
  }

  @Test func rangesSayWhatTheyAre() {
    #expect(NumberRange.any.description == "")
    #expect(NumberRange.atLeast(0).description == " of at least 0")
    #expect(NumberRange.above(0, below: 1).description == " above 0 and below 1")
    #expect(NumberRange.between(0, 1).description == " of 0 to 1")
    #expect(!NumberRange.any.contains(.infinity) && !NumberRange.above(0, below: 1).contains(1))
    #expect(NumberRange.above(0, upTo: 1).contains(1) && !NumberRange.from(0, below: 1).contains(1))
  }
}
