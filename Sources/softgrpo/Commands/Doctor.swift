import ArgumentParser
import Foundation
import Kernels
import Observability

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has, what softgrpo will use of it, and whether it works.")

  func run() throws {
    let features = ProcessorFeatures.current
    print("softgrpo \(softgrpoVersion)")
    print("processor     \(features.name)")
    #if arch(x86_64)
      let wanted = ["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"]
      print("instructions  " + wanted.map { "\(features.flags.contains($0) ? "+" : "-")\($0)" }.joined(separator: " "))
      guard features.flags.contains("avx2"), features.flags.contains("fma") else {
        throw CommandError("doctor: this build needs AVX2 and FMA (x86-64-v3), which \(features.name) lacks")
      }
    #endif
    print("processors    \(features.availableProcessors) available to this process (affinity and cgroup quota)")
    print("memory        \(memory())")
    print("float32       \(OpenBLASBackend().summary)")
    if preferredComputeType == .bfloat16 {
      print("bfloat16      \(try matrixBackend(for: .bfloat16).summary)")
      print("default       bfloat16: the processor multiplies it in hardware")
    } else {
      print("bfloat16      weights only; the processor has no bf16 products, so they are computed with in float32")
      print("default       float32")
    }
    for type in ComputeType.allCases where type == .float32 || preferredComputeType == .bfloat16 {
      let check = try checkProducts(type)
      print("self-test     \(type.rawValue): largest error \(String(format: "%.1e", check.error)) of 1, \(check.rows)")
      guard check.error < 0.02 else {
        throw CommandError("doctor: \(type.rawValue) products are wrong on this machine; report this output")
      }
    }
    print("ready")
  }

  private func memory() -> String {
    let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    func kilobytes(_ key: String) -> Int? {
      text.split(separator: "\n").first { $0.hasPrefix(key + ":") }.flatMap { line in
        line.split(separator: " ").compactMap { Int($0) }.first
      }
    }
    guard let total = kilobytes("MemTotal"), let available = kilobytes("MemAvailable") else { return "unknown" }
    return "\(formatBytes(available * 1024)) available of \(formatBytes(total * 1024))"
  }

  /// A small product against plain loops, and each row's bits in batches of different sizes.
  private func checkProducts(_ type: ComputeType) throws -> (error: Float, rows: String) {
    let (n, k, rows) = (192, 160, 40)
    let team = ThreadTeam(threadCount: ProcessorFeatures.current.availableProcessors)
    let weights = AlignedBuffer<BFloat16>(count: n * k)
    for index in 0..<n * k { weights.base[index] = BFloat16(Float((index * 7919) % 97 - 48) / 480) }
    let input = AlignedBuffer<Float>(count: rows * k)
    for index in 0..<rows * k { input.base[index] = Float((index * 104_729) % 89 - 44).roundedToBFloat16 / 64 }
    let operand = OperandBuffer(count: rows * k, computeType: type)
    round(input.base, into: operand.operand, count: rows * k)
    let matrix = try matrixBackend(for: type).prepare(
      weights.base, outputs: n, inputs: k, transposed: false, team: team)
    let output = AlignedBuffer<Float>(count: rows * n)
    matrix.multiply(operand.operand, rows: rows, into: output.base, outputStride: n, accumulate: false, team: team)
    var error: Float = 0
    for row in 0..<rows {
      for column in 0..<n {
        var sum = 0.0
        for index in 0..<k {
          let value = type == .bfloat16 ? input.base[row * k + index].roundedToBFloat16 : input.base[row * k + index]
          sum += Double(value) * Double(Float(weights.base[column * k + index]))
        }
        error = max(error, abs(output.base[row * n + column] - Float(sum)))
      }
    }
    let single = AlignedBuffer<Float>(count: n)
    var differing = 0
    for row in 0..<rows {
      matrix.multiply(
        operand.operand.advanced(by: row * k), rows: 1, into: single.base, outputStride: n, accumulate: false,
        team: team)
      for column in 0..<n where single.base[column] != output.base[row * n + column] { differing += 1 }
    }
    return (error, differing == 0 ? "rows keep their bits in any batch" : "\(differing) values depend on the batch")
  }
}
