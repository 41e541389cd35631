import Credit
import Foundation
import Objectives
import Testing

@testable import MethodCases

/// docs/methods.md names what is registered, with its keys.
@Suite struct DocumentationTests {
  private func page() throws -> [Substring] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent("docs/methods.md"), encoding: .utf8).split(
      separator: "\n")
  }

  @Test func everyPartHasItsRow() throws {
    let rows = try page().filter { $0.hasPrefix("| `") }
    let parts =
      objectives.entries.map { ($0.name, $0.parameters.map(\.name)) }
      + advantageEstimators.entries.map { ($0.name, $0.parameters.map(\.name)) }
      + corrections.entries.filter { $0.name != "none" }.map { ($0.name, $0.parameters.map(\.name)) }
    for (name, keys) in parts {
      let own = rows.filter { $0.hasPrefix("| `\(name)` |") || $0.hasPrefix("| `\(name)`, ") }
      #expect(!own.isEmpty, "\(name) has no row")
      for key in keys where name != "sspo" {
        #expect(own.contains { $0.contains("`\(key)`") }, "\(name): \(key) is not in its row")
      }
    }
    for estimator in KLEstimator.allCases {
      #expect(rows.contains { $0.contains("`\(estimator.rawValue)`") }, "\(estimator.rawValue)")
    }
  }
}
