import ArgumentParser
import CLibCrypto
import CZeroMQ
import Equality
import Foundation
import Kernels
import Loading
import Machine
import Observability
import Tasks
import Transformer
import Transport

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has, what will be used and why; a self-check of the arithmetic.",
    discussion: "Exits with 0 when softgrpo can work here; otherwise says what to do.")

  @Option(help: "Also check a model: files, tokenizer, chat template, finite weights.")
  var model: String?
  @OptionGroup(title: "Options of --model") var prompts: PromptRenderingOptions
  @Option(help: "Token that ends the thinking; default: </think> when the vocabulary has it.")
  var endOfThinkingToken: String?

  func run() throws {
    print("softgrpo \(softgrpoVersion)")
    let processor = ProcessorFeatures.current
    section("processor")
    show("name", processor.name)
    show("instructions", Self.instructions(processor))
    show("threads", Self.threads(processor))
    show("memory", Machine.memory)
    let files = FileDescriptorLimit.raise()
    show("open files", "\(files): a learner takes 2 a worker" + (files < 4096 ? "; raise ulimit -n for many" : ""))
    // Before any kernel: one of them would end the process with an illegal instruction.
    try checkFloor(processor)

    section("arithmetic")
    let preferred = preferredComputeType
    let reason =
      processor.hasBFloat16Products
      ? "the processor multiplies bf16 in hardware"
      : "the processor lacks AVX512-BF16 and AMX; slower"
    show("default dtype", "\(preferred.rawValue): \(reason)")
    var problems: [String] = []
    for type in RolloutDataType.allCases {
      guard let backend = try? rolloutBackend(for: type) else {
        show(type.rawValue, "not available on this processor")
        continue
      }
      let check = MatrixSelfCheck.run(backend, threads: processor.availableProcessors)
      show(
        type.rawValue,
        "\(backend.summary); \(check.summary)")
      if !check.isAccurate(type) {
        problems.append("\(type.rawValue) products are wrong on this machine (\(check.summary))")
      }
    }

    section("libraries")
    var (major, minor, patch) = (Int32(0), Int32(0), Int32(0))
    zmq_version(&major, &minor, &patch)
    show("ZeroMQ", "\(major).\(minor).\(patch), CURVE \(zmq_has("curve") == 1 ? "available" : "missing")")
    show("OpenSSL", OpenSSL_version(0).map { String(cString: $0) } ?? "unknown")

    if let model { try checkModel(model, preferred) }

    guard problems.isEmpty else {
      throw CommandError(
        "doctor: \(problems.joined(separator: "; ")): reinstall libdnnl and libopenblas (scripts/setup), or use the other --dtype"
      )
    }
    print("\nready: softgrpo works on this machine")
  }

  private func section(_ title: String) { print("\n\(title)") }

  private func show(_ name: String, _ value: String) {
    print("  \(name)\(String(repeating: " ", count: max(1, 17 - name.count)))\(value)")
  }

  private static func instructions(_ processor: ProcessorFeatures) -> String {
    let known = [
      "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "avx_vnni",
      "asimd", "bf16", "sve",
    ]
    let found = known.filter(processor.flags.contains)
    return found.isEmpty ? "none of those that matter" : found.joined(separator: " ")
  }

  private static func threads(_ processor: ProcessorFeatures) -> String {
    let online = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    var text = "\(processor.availableProcessors) used by default of \(online) online"
    var limits: [String] = []
    if let list = Machine.field("Cpus_allowed_list", of: "/proc/self/status") { limits.append("affinity \(list)") }
    limits.append("cgroup quota \(Machine.processorQuota ?? "none")")
    text += " (\(limits.joined(separator: ", ")))"
    return text
  }

  private func checkFloor(_ processor: ProcessorFeatures) throws {
    #if arch(x86_64)
      let missing = ["avx2", "fma", "f16c", "bmi2", "movbe"].filter { !processor.flags.contains($0) }
      guard missing.isEmpty || processor.flags.isEmpty else {
        throw CommandError(
          "doctor: the processor lacks \(missing.joined(separator: ", ")), which softgrpo needs (x86-64-v3: Intel since "
            + "Haswell, AMD since Zen): use another machine, or a virtual machine that passes the host's instructions on"
        )
      }
    #endif
  }

  private func checkModel(_ path: String, _ type: ComputeType) throws {
    section("model")
    let loaded = try LoadedModel(path: path, rendering: prompts.rendering(), endOfThinkingToken: endOfThinkingToken)
    let c = loaded.source.configuration
    show("path", "\(path) (\(loaded.source.format == .gguf ? "GGUF" : "Hugging Face directory"))")
    show(
      "shape",
      "\(c.architecture.rawValue), \(formatFixed(Double(c.parameterCount) / 1e6, 1)) M weights, \(c.layerCount) layers, "
        + "hidden \(c.hiddenSize), vocabulary \(c.vocabularySize), context \(c.contextLength)")
    // Packed matrices beside the bf16 weights; the learner adds fp32 master weights, gradient and two moments.
    let worker = c.parameterCount * (2 + type.byteCount)
    show(
      "memory",
      "about \(formatBytes(worker)) to sample, \(formatBytes(worker + c.parameterCount * (16 + type.byteCount))) to train, "
        + "without caches and activations")
    // Ends with the remedy: a machine that the model does not fit is not ready for it.
    try ModelMemory.checkSampling(c)
    do {
      try ModelMemory.checkTraining(c, isAdapted: false)
      show("fits", "to sample and to train")
    } catch let error as MemoryError { show("fits", "to sample, not to train every weight: \(error)") }
    show("tokenizer", "\(loaded.tokenizer.vocabularySize) tokens")
    show("chat template", loaded.template.name)
    showPrompt(loaded)
    show("stop tokens", tokens(loaded.stopTokens, loaded))
    show(
      "end of thinking",
      loaded.endOfThinkingTokens.isEmpty
        ? "none: thinking lasts its whole budget unless --end-of-thinking-token names a token"
        : tokens(loaded.endOfThinkingTokens, loaded))
    if !loaded.source.unusedTensors.isEmpty {
      show("unused", loaded.source.unusedTensors.prefix(5).joined(separator: ", "))
    }
    let weights = try ModelWeights(source: loaded.source)
    show("weights", "all read, all finite")
    // Worker and learner must compute the same bits on this model's shapes.
    let team = ThreadTeam(threadCount: ProcessorFeatures.current.availableProcessors)
    let prepared = PreparedModel(
      weights, backend: try matrixBackend(for: type), trainable: false, positions: min(256, c.contextLength), team: team
    )
    let report = EqualitySelfTest.run(prepared, team: team)
    show("bitwise", "self-test \(report.summary)")
  }

  /// One whole prompt as the model reads it, or why there is none: a small vocabulary may lack its characters.
  private func showPrompt(_ loaded: LoadedModel) {
    let prompt = Prompt(id: "example", content: .text("What is 17 * 23?"), answer: "391")
    do {
      let shown = try loaded.preview(prompt)
      show("a prompt", "\"\(prompt.text)\" is read as these \(shown.tokenCount) tokens:")
      print(shown.display)
      if let warning = shown.warning { show("WARNING", warning) }
    } catch {
      show("a prompt", "\"\(prompt.text)\" cannot be read: \(error)")
    }
  }

  private func tokens(_ ids: [Int32], _ model: LoadedModel) -> String {
    ids.isEmpty ? "none" : ids.map { "\(model.tokenizer.token(for: $0) ?? "?") (\($0))" }.joined(separator: " ")
  }
}

/// Figures of the operating system.
enum Machine {
  static func field(_ key: String, of path: String) -> String? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix(key + ":") {
      return line.dropFirst(key.count + 1).trimmingCharacters(in: .whitespaces)
    }
    return nil
  }

  static var memory: String {
    let total = ProcessFile.bytes("MemTotal", of: "/proc/meminfo").map(formatBytes) ?? "unknown"
    let available = availableMemory.map(formatBytes) ?? "unknown"
    let limit = ControlGroup.current.memory.map(formatBytes) ?? "none"
    return "\(total), \(available) available, cgroup limit \(limit)"
  }

  static var processorQuota: String? {
    ControlGroup.current.processors.map { "\(formatFixed($0, 2)) processors" }
  }
}
