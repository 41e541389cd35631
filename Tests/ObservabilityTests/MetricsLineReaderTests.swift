import Foundation
import Testing

@testable import Observability

@Suite struct MetricsLineReaderTests {
  private func read(_ reader: inout MetricsLineReader, _ line: String) -> (step: Int, metrics: [String: Double])? {
    let step = Array(line.utf8).withUnsafeBytes { reader.read($0) }
    guard let step else { return nil }
    let names = reader.names
    return (step, Dictionary(reader.values.map { (names[$0.metric], $0.value) }) { $1 })
  }

  /// Bit for bit what the general reader makes of the lines that a run writes, whatever comes and goes between them.
  @Test func linesOfARunAreReadAlike() throws {
    var reader = MetricsLineReader()
    var generator = SystemRandomNumberGenerator()
    for step in 1...300 {
      var metrics: [String: Double] = [:]
      for name in 0..<40 where !(step + name).isMultiple(of: 7) {
        let bits = Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &generator))
        metrics["group/metric_\(name)"] =
          [bits, Double(step * name), -0.0, 1 / Double(name + 1), .nan, -.infinity][name % 6]
      }
      metrics["eval/\"odd\"\u{7}"] = step.isMultiple(of: 50) ? 1 : nil
      let record = MetricsRecord(step: step, time: 1.7e9 + Double(step) / 3, metrics: metrics)
      let line = try record.line()
      let expected = record.metrics.filter { $0.value.isFinite }
      guard let got = read(&reader, line) else {
        // A name with an escape, and whole numbers of more than 15 digits.
        #expect(line.contains("\\") || line.contains(/: -?\d{16,}[,}]/), "\(line)")
        continue
      }
      #expect(got.step == step && got.metrics.count == expected.count)
      for (name, value) in expected { #expect(got.metrics[name]?.bitPattern == value.bitPattern, "\(name) of \(line)") }
    }
  }

  /// What is none of ours is left to the general reader, and no name of it is kept.
  @Test func otherLinesAreLeft() {
    var reader = MetricsLineReader()
    #expect(read(&reader, "{\"step\": 1, \"time\": 0, \"a\": 0.5}")?.metrics == ["a": 0.5])
    for line in [
      "", "{", "}", "{}", "[1]", "{\"step\": 1}", "{\"time\": 1, \"b\": 2}", "{\"step\":1,\"time\":0}",
      "{\"step\": 1, \"time\": 0, \"b\": 1, \"b\": 1}", "{\"step\": 1.5, \"time\": 0, \"b\": 1}",
      "{\"step\": 1, \"time\": 0, \"b\": 007}", "{\"step\": 1, \"time\": 0, \"b\": 1e}",
      "{\"step\": 1, \"time\": 0, \"b\": null}",
      "{\"step\": 1, \"time\": 0, \"b\": }", "{\"step\": 1, \"time\": 0, \"b\": 1",
      "{\"step\": 1, \"time\": 0, \"b\": {\"c\": 1}}",
      "{\"step\": 1, \"time\": 0, \"b\": \"1\"}", "{\"step\": 1, \"time\": 0, \"b\": 0x1}",
      "{\"step\": 1, \"time\": 0, \"b\": 1-2}",
      "{\"step\": 1, \"time\": 0, \"\": 1.5, \"\": 2}", "{\"step\": 1, \"time\": 0, \"b",
      "{\"step\": 1, \"time\": 0, \"b\":}",
      "{\"step\": 1, \"time\": 0, \"b\": 1,}", "{\"step\": 1, \"time\": 0, }", "{\"step\": +1, \"time\": 0}",
    ] {
      #expect(read(&reader, line) == nil, "\(line)")
      #expect(reader.names == ["a"], "\(line)")
    }
    #expect(read(&reader, "{\"step\": 2, \"time\": 0, \"a\": -1e-300, \"c\": \"NaN\"}")?.metrics == ["a": -1e-300])
    #expect(reader.names == ["a", "c"])
  }

  /// A file by another writer's hand gives the same curves.
  @Test func curvesOfAnyWriter() {
    var curves = Curves()
    for line in [
      "{\"step\": 1, \"time\": 0, \"a\": 1}", "{\"a\":3,\"time\":0,\"step\":2,\"n\\u0061me\":7}", "no record",
      "{\"step\": 2, \"time\": 0, \"a\": 9}", "{\"step\": 3, \"time\": 0, \"name\": 8}",
    ] { Array(line.utf8).withUnsafeBytes { curves.append(line: $0) } }
    #expect(curves.names == ["a", "name"])
    let json = curves.json(["a", "name"])
    #expect(json["steps"]?.arrayValue?.compactMap(\.integerValue) == [1, 2, 3])
    #expect(json["series"]?["a"]?.arrayValue == [.decimal(1), .decimal(3), .null])
    #expect(json["series"]?["name"]?.arrayValue == [.null, .decimal(7), .decimal(8)])
  }
}
