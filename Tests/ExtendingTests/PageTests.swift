import Foundation
import Testing

/// docs/extending.md shows the code that is compiled and run here.
@Suite struct PageTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  private static let docs = folder.deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("docs")

  private static func text(_ url: URL) throws -> String { try String(contentsOf: url, encoding: .utf8) }

  /// The file that each block of Swift is said to come from: the last `Example….swift` named before it.
  private static func blocks() throws -> [(file: String?, code: String)] {
    var result: [(file: String?, code: String)] = []
    var file: String?
    var code: [Substring]?
    for line in try text(docs.appendingPathComponent("extending.md")).split(
      separator: "\n", omittingEmptySubsequences: false)
    {
      if line.hasPrefix("```") {
        if let finished = code { result.append((file, finished.joined(separator: "\n"))) }
        code = code == nil ? [] : nil
      } else if code != nil {
        code?.append(line)
      } else if let start = line.range(of: "Example"),
        let end = line.range(of: ".swift", range: start.lowerBound..<line.endIndex)
      {
        file = String(line[start.lowerBound..<end.upperBound])
      }
    }
    return result
  }

  @Test func everyBlockIsCompiledHere() throws {
    let blocks = try Self.blocks()
    var shown: Set<String> = []
    for (file, code) in blocks {
      let file = try #require(file, "a block of docs/extending.md stands before the name of its file: \(code)")
      let source = try Self.text(Self.folder.appendingPathComponent(file))
      let isContained = source.contains(code)
      #expect(isContained, "docs/extending.md does not show what \(file) holds: \(code)")
      // Whole, but for the imports, which are another room's there.
      let body = source.split(separator: "\n").filter { !$0.contains("import ") }.joined(separator: "\n")
      #expect(code.split(separator: "\n").joined(separator: "\n") == body, "\(file) is not shown whole")
      shown.insert(file)
    }
    let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter {
      $0.hasPrefix("Example")
    }
    #expect(shown == Set(files), "each example has its block in docs/extending.md")
    #expect(files.count == blocks.count)
  }

  @Test func theReadmeNamesEveryPage() throws {
    let readme = try Self.text(Self.docs.deletingLastPathComponent().appendingPathComponent("README.md"))
    for page in try FileManager.default.contentsOfDirectory(atPath: Self.docs.path) where page.hasSuffix(".md") {
      let isLinked = readme.contains("(docs/\(page))")
      #expect(isLinked, "README.md does not link docs/\(page)")
    }
  }

  private static let folders = ["Sources/", "Tests/", "proto/", "scripts/", "docs/"]
  private static let imagined: Set = [
    "Sources/Objectives/SPO.swift", "Sources/Credit/MovingBaseline.swift", "Sources/Thinking/Blended",
    "Sources/Tasks/Rewards/RelativeLengthReward.swift", "Sources/Tasks/Scheduling/RetryHintScheduler.swift",
    "Sources/Learner/Observers/CollapseGuard.swift",
  ]

  /// Paths and links of the pages that lead a reader through the code.
  @Test(arguments: ["extending.md", "overview.md"])
  func whatThePagePointsAtExists(_ page: String) throws {
    let root = Self.docs.deletingLastPathComponent()
    let text = try Self.text(Self.docs.appendingPathComponent(page))
    var seen = 0
    for (index, part) in text.split(separator: "`", omittingEmptySubsequences: false).enumerated() {
      // Odd parts stand between a pair of backticks.
      guard index % 2 == 1, !part.contains(" "), Self.folders.contains(where: part.hasPrefix) else { continue }
      // Where the page's own examples would go if they were real.
      guard !Self.imagined.contains(String(part)) else { continue }
      seen += 1
      let exists = FileManager.default.fileExists(atPath: root.appendingPathComponent(String(part)).path)
      #expect(exists, "\(page): \(part)")
    }
    for part in text.components(separatedBy: "](").dropFirst() {
      let target = part.prefix { $0 != ")" && $0 != "#" }
      guard !target.contains("://") else { continue }
      let exists = FileManager.default.fileExists(atPath: Self.docs.appendingPathComponent(String(target)).path)
      #expect(exists, "\(page): \(target)")
    }
    #expect(seen > 5)
  }
}
