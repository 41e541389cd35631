import ArgumentParser
import Foundation
import JSON
import MethodCases

struct Method: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Computes a part of the method on recorded numbers, beside what is expected of it.",
    discussion: """
      KIND is objective, advantage, correction, kl, reward, selection or policy; NAME is the base name of a file of recorded \
      cases, as `--list` has them. The cases are written with `computed` beside `expected`. The status is 1 when a number is \
      further off than |a - b| <= 1e-5 max(|b|, m) + 1e-7, m the largest magnitude under its key, or when a case asks for what is \
      not built.
      """)

  @Argument(help: "What kind of part.") var kind: String?
  @Argument(help: "The method, as its file is called.") var name: String?
  @Option(help: "Recorded cases: {\"options\": {…}, \"cases\": [{…, \"expected\": {…}}, …]}.") var cases: String?
  @Option(help: "Where the cases go (JSON).") var output: String?
  @Flag(help: "Names what can be computed, and stops.") var list = false

  func validate() throws {
    if list { return }
    guard kind != nil, name != nil, cases != nil, output != nil else {
      throw ValidationError("give KIND, NAME, --cases and --output, or --list")
    }
  }

  func run() throws {
    let kind = try kind.map(MethodKind.named)
    if list {
      for kind in kind.map({ [$0] }) ?? MethodKind.allCases {
        for entry in kind.entries {
          print("\(kind.rawValue) \(entry.name): \(entry.parts)\(entry.isBuilt ? "" : " (not in this build)")")
        }
      }
      return
    }
    guard let kind, let name, let cases, let output else { return }
    let entry = try kind.entry(name)
    var file = try AtomicFile(path: output)
    guard let bytes = FileManager.default.contents(atPath: cases) else {
      throw CommandError("\(cases): cannot be read")
    }
    let run: MethodRun
    do { run = try MethodRun(entry, document: JSONValue(parsing: [UInt8](bytes))) } catch {
      throw CommandError("\(cases): \(error)")
    }
    try file.write(Data(run.cases.encoded().utf8))
    try file.commit()
    print("\(kind.rawValue) \(name): \(run.report)")
    if !run.agrees { throw ExitCode.failure }
  }
}
