import Foundation
import Kernels
import Machine
import Testing

/// A short run with a fixed seed in fp32 (`Fixtures/FixedRuns/NAME.yaml`), whose final weights have the same bytes wherever
/// what decides the bits is the same.
struct FixedRun: CustomTestStringConvertible {
  let name: String

  static let all = [
    "density-reference", "density-concrete", "density-exact", "discrete", "kl-k3", "kl-exact", "mini-batches",
    "dr-grpo", "rloo", "lora", "gradient-leases",
  ].map(FixedRun.init)

  static let folder = Program.root.appendingPathComponent("Tests/RunTests/Fixtures/FixedRuns")

  var testDescription: String { name }
  var configuration: String { Self.folder.appendingPathComponent(name + ".yaml").path }

  /// The bytes of a checkpoint: the weights that are published, and what they are rounded from.
  struct Weights: Equatable {
    /// SHA-256 of the checkpoint's `model.safetensors`, in bf16.
    let model: String
    /// SHA-256 of the fp32 weights, or of the adapters under LoRA.
    let trained: String
  }

  /// - Parameter run: the run's directory.
  static func weights(_ run: URL, step: Int) throws -> Weights {
    let checkpoint = "checkpoints/step-" + String(repeating: "0", count: 6 - "\(step)".count) + "\(step)"
    let adapters = run.appendingPathComponent(checkpoint + ".adapter/adapter_model.safetensors")
    let trained =
      FileManager.default.fileExists(atPath: adapters.path)
      ? adapters : run.appendingPathComponent(checkpoint + ".state/master/model.safetensors")
    return Weights(
      model: try digest(run.appendingPathComponent(checkpoint + "/model.safetensors")), trained: try digest(trained))
  }

  /// The last step of a run.
  static func lastStep(_ run: URL) throws -> Int { try metrics(run).last?["step"] as? Int ?? 0 }

  static func metrics(_ run: URL) throws -> [[String: Any]] {
    let text = try String(contentsOf: run.appendingPathComponent("metrics.jsonl"), encoding: .utf8)
    return try text.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  private static func digest(_ file: URL) throws -> String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["sha256sum", "--", file.path]
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "sha256sum of \(file.path)")
    return String(text.prefix(64))
  }
}

/// What decides the bits of an fp32 run, beside the program: the products of attention's backward pass are OpenBLAS's,
/// whose kernels differ from processor to processor; all else is the program's own, in one order.
struct BitKernel: Hashable, CustomTestStringConvertible {
  /// OpenBLAS's name of its kernels, as `OPENBLAS_CORETYPE` takes it; nil: what it chooses for this processor.
  let core: String?

  var testDescription: String { core ?? "this processor's" }
  /// Of a program that shall run with it. OpenBLAS says in its errors which kernels it chose.
  var environment: [String: String] {
    var environment = ["OPENBLAS_VERBOSE": "2"]
    if let core { environment["OPENBLAS_CORETYPE"] = core }
    return environment
  }

  static let native = BitKernel(core: nil)
  /// Those that a test tries: this processor's, and one that every x86-64-v3 processor can run, so that one of another make
  /// must give recorded bits too.
  static let tested: [BitKernel] = {
    #if arch(x86_64)
      OpenBLASBackend().summary.contains(" Haswell ") ? [native] : [native, BitKernel(core: "Haswell")]
    #else
      [native]
    #endif
  }()
  /// All that this processor can run and a processor of today chooses.
  static let recordable: [BitKernel] = {
    #if arch(x86_64)
      let flags = ProcessorFeatures.current.flags
      let avx512 = flags.isSuperset(of: ["avx512f", "avx512bw", "avx512vl", "avx512dq"])
      let cores =
        ["Haswell", "Zen"] + (avx512 ? ["SkylakeX"] : []) + (flags.contains("avx512_bf16") ? ["Cooperlake"] : [])
      return [native] + cores.map(BitKernel.init)
    #else
      return [native]
    #endif
  }()

  /// The key of `hashes.txt`: the architecture, OpenBLAS's version, and the kernels that a run said it took.
  ///
  /// - Returns: nil when the run did not say.
  static func key(errors: String) -> String? {
    let prefix = "Core: "
    guard let line = errors.split(separator: "\n").first(where: { $0.hasPrefix(prefix) }) else { return nil }
    let version = OpenBLASBackend().summary.split(separator: " ").first { $0.first?.isNumber == true } ?? "unknown"
    #if arch(x86_64)
      let architecture = "x86_64"
    #elseif arch(arm64)
      let architecture = "arm64"
    #else
      let architecture = "unknown"
    #endif
    return "\(architecture), OpenBLAS \(version), \(line.dropFirst(prefix.count))"
  }
}

/// `Fixtures/FixedRuns/hashes.txt`: a section a kernel, a line a run with the two hashes of its last checkpoint.
struct RecordedBits {
  private(set) var kernels: [String: [String: FixedRun.Weights]] = [:]

  static let fixtures = Result { try RecordedBits(contentsOf: FixedRun.folder.appendingPathComponent("hashes.txt")) }

  init(contentsOf file: URL) throws {
    var kernel = ""
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("["), line.hasSuffix("]") {
        kernel = String(line.dropFirst().dropLast())
        continue
      }
      let words = line.split(separator: " ").map(String.init)
      try #require(words.count == 3 && !kernel.isEmpty, "hashes.txt: \(line)")
      kernels[kernel, default: [:]][words[0]] = FixedRun.Weights(model: words[1], trained: words[2])
    }
  }
}
