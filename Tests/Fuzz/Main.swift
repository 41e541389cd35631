import Foundation
import TestSupport

/// Feeds a decoder with changed inputs, as many as asked for (docs/security.md, scripts/fuzz):
///
///     softgrpo-fuzz TARGET --root REPOSITORY [--seconds S] [--executions N] [--seed K] [--state FILE] [--input FILE]
///
/// An input whose outcome is new (another error, digits aside) joins the inputs that are changed. The one that is being
/// decoded is in the state file, which survives the process.
@main enum Main {
  static func main() throws {
    var options: [String: String] = [:]
    var arguments = CommandLine.arguments.dropFirst()
    guard let name = arguments.popFirst() else {
      return fail("name a target: \(FuzzTarget.names.joined(separator: ", "))")
    }
    while let key = arguments.popFirst() { options[key] = arguments.popFirst() ?? "" }
    guard let target = try FuzzTarget.named(name, root: options["--root"] ?? ".") else {
      return fail("there is no target \(name): \(FuzzTarget.names.joined(separator: ", "))")
    }
    if let path = options["--input"] {
      do {
        try target.run(FuzzTarget.file(path))
        print("accepted")
      } catch { print("refused: \(error)") }
      return
    }
    let executions = options["--executions"].flatMap { Int($0) } ?? .max
    let seconds = options["--seconds"].flatMap { Double($0) } ?? (executions == .max ? 60 : .infinity)
    let seed = options["--seed"].flatMap { UInt64($0) } ?? 1
    run(target, executions: executions, seconds: seconds, seed: seed, state: StateFile(options["--state"]))
  }

  private static func fail(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    exit(64)
  }

  private static func run(
    _ target: FuzzTarget, executions: Int, seconds: Double, seed: UInt64, state: StateFile
  ) {
    var mutator = Mutator(seed: seed, words: target.words.map { Array($0.utf8) })
    var corpus = target.seeds
    var outcomes: Set<String> = []
    var accepted = 0
    var done = 0
    let start = ContinuousClock.now
    let deadline = seconds.isFinite ? start + .seconds(seconds) : nil
    while done < executions {
      if done % 256 == 0, let deadline, ContinuousClock.now >= deadline { break }
      let input =
        done < target.seeds.count
        ? corpus[done]
        : mutator.mutate(corpus[mutator.below(corpus.count)], corpus[mutator.below(corpus.count)])
      state.note(input, done)
      // A decoder that does not come back is killed.
      alarm(20)
      let outcome: String
      do {
        try target.run(input)
        outcome = "accepted"
        accepted += 1
      } catch { outcome = signature("\(error)") }
      done += 1
      if outcomes.count < 4096, outcomes.insert(outcome).inserted, outcome != "accepted" { corpus.append(input) }
    }
    alarm(0)
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    print(
      "\(target.name): \(done) executions in \(Int(elapsed)) s, \(accepted) accepted, \(outcomes.count) different outcomes, "
        + "\(corpus.count) inputs in the corpus, seed \(seed)")
  }

  /// An error without its digits and quoted parts.
  private static func signature(_ text: String) -> String {
    var result: [UInt8] = []
    for byte in text.utf8.prefix(160) where !(byte >= 48 && byte <= 57) && byte < 128 { result.append(byte) }
    return String(decoding: result.prefix(60), as: UTF8.self)
  }
}

/// The input that is being decoded, in memory that a file shares.
final class StateFile {
  private let memory: UnsafeMutableRawPointer?

  init(_ path: String?) {
    guard let path else {
      memory = nil
      return
    }
    let size = Mutator.byteLimit + (1 << 20)
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    ftruncate(descriptor, off_t(size))
    let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, Int32(MAP_SHARED), descriptor, 0)
    memory = mapped == MAP_FAILED ? nil : mapped
  }

  /// The number of the execution, the bytes' count, the bytes.
  func note(_ input: [UInt8], _ number: Int) {
    guard let memory else { return }
    memory.storeBytes(of: UInt64(number), as: UInt64.self)
    memory.storeBytes(of: UInt64(input.count), toByteOffset: 8, as: UInt64.self)
    input.withUnsafeBytes { if let base = $0.baseAddress { (memory + 16).copyMemory(from: base, byteCount: $0.count) } }
  }
}
