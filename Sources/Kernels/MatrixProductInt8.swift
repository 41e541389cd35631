import Machine

#if arch(x86_64)
  import CInt8Kernels

  #if canImport(Glibc)
    import Glibc
  #endif

  /// int8 products on AVX512-VNNI for rollouts: weights quantized per output channel when a version arrives, activations
  /// per row in groups of 96 at each product, integer sums in a group, fp32 results (`docs/numerics.md`).
  ///
  /// Operands are bf16, so that caches, attention and everything between the products are those of bf16. The sums of a
  /// group are exact and groups are added in their order: a row has the same bits whatever its batch, threads and tiles.
  public struct Int8Backend: MatrixBackend {
    public init() {}

    public var computeType: ComputeType { .bfloat16 }
    public var dataType: RolloutDataType { .int8 }
    public var isBatchInvariant: Bool { true }
    public var summary: String { "int8 (weights per channel, activations in groups of \(INT8_GROUP)), AVX512-VNNI" }

    /// - Precondition: `transposed` is false: int8 is for sampling and scoring.
    public func prepare(
      _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
    ) -> any WeightMatrix {
      precondition(!transposed, "int8 weights are for sampling and scoring: train with dtype bfloat16 or float32")
      return Int8WeightMatrix(weights, outputs: outputs, inputs: inputs, team: team)
    }

    public func accumulateWeightGradient(
      _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
      accumulate: Bool, team: ThreadTeam
    ) {
      preconditionFailure("int8 weights are for sampling and scoring: train with dtype bfloat16 or float32")
    }
  }

  /// A weight matrix as blocks of 48 quantized output channels.
  final class Int8WeightMatrix: WeightMatrix {
    let outputs: Int
    let inputs: Int
    var computeType: ComputeType { .bfloat16 }
    /// Bytes of one row of quantized activations.
    private let stride: Int
    /// Groups of four inputs, which one instruction sums.
    private let quads: Int
    /// Groups of activations that share a scale.
    private let groups: Int
    private let blocks: Int
    private let packed: AlignedBuffer<UInt8>
    private let scales: AlignedBuffer<Float>
    private let following = FollowingWeights()

    private static let width = Int(INT8_BLOCK_COLUMNS)
    /// Rows whose results stay in cache while the blocks of a task pass over them.
    private static let largestRowTile = 128
    /// Below this many activations, waking the team takes longer than quantizing them.
    private static let aloneLimit = 1 << 15

    private var blockBytes: Int { quads * Self.width * 4 }

    init(_ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, team: ThreadTeam) {
      self.outputs = outputs
      self.inputs = inputs
      stride = (inputs + 63) / 64 * 64
      quads = (inputs + 3) / 4
      groups = (inputs + Int(INT8_GROUP) - 1) / Int(INT8_GROUP)
      blocks = (outputs + Self.width - 1) / Self.width
      packed = AlignedBuffer(count: blocks * quads * Self.width * 4)
      scales = AlignedBuffer(count: blocks * Self.width)
      let bits = UnsafeRawPointer(weights).assumingMemoryBound(to: UInt16.self)
      team.forEachRange(blocks, grain: max(1, blocks / (8 * team.threadCount))) { range, _ in
        withUnsafeTemporaryAllocation(of: Int8.self, capacity: self.stride) { scratch in
          for block in range {
            let first = block * Self.width
            int8_pack_block(
              bits + first * inputs, min(Self.width, outputs - first), inputs,
              self.packed.base + block * self.blockBytes, self.scales.base + first, scratch.baseAddress!)
          }
        }
      }
    }

    private func taskCount(threads: Int) -> Int { min(blocks, 4 * threads) }

    func firstWeights(threads: Int) -> WeightLocation? {
      let tasks = taskCount(threads: threads)
      return WeightLocation(
        base: UnsafeRawPointer(packed.base), bytesPerTask: blocks / tasks * blockBytes, tasks: tasks)
    }

    func precedes(_ next: WeightLocation?) { following.location = next }

    func multiply(
      _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool,
      team: ThreadTeam
    ) {
      guard case .bfloat16(let x) = x else { preconditionFailure("bf16 operand expected") }
      guard rows > 0 else { return }
      let quantized = Int8Activations.ofThisThread(bytes: rows * stride, groups: rows * groups)
      let bits = UnsafeRawPointer(x).assumingMemoryBound(to: UInt16.self)
      func quantize(_ range: Range<Int>) {
        int8_quantize_rows(
          bits + range.lowerBound * inputs, range.count, inputs, stride, quantized.values + range.lowerBound * stride,
          quantized.scales + range.lowerBound * groups, quantized.offsets + range.lowerBound * groups)
      }
      if rows * inputs <= Self.aloneLimit {
        quantize(0..<rows)
      } else {
        team.forEachRange(rows, grain: max(1, rows / (2 * team.threadCount))) { range, _ in quantize(range) }
      }
      // Bits that no split shows leave it free: a few runs of blocks a thread, so that threads finish together.
      let tasks = taskCount(threads: team.threadCount)
      team.run(tasks) { task, _ in
        let range = self.blocks * task / tasks..<self.blocks * (task + 1) / tasks
        // Another thread takes the task after this one.
        let after = task + team.threadCount
        let afterTask =
          after < tasks
          ? UnsafeRawPointer(self.packed.base + self.blocks * after / tasks * self.blockBytes)
          : self.following.location?.address(after - tasks)
        forEachRowTile(rows, largest: Self.largestRowTile) { start, count in
          for block in range {
            let first = block * Self.width
            let next =
              block + 1 < range.upperBound
              ? UnsafeRawPointer(self.packed.base + (block + 1) * self.blockBytes) : afterTask
            int8_multiply_block(
              quantized.values + start * self.stride, quantized.scales + start * self.groups,
              quantized.offsets + start * self.groups, count,
              self.stride, self.quads, self.packed.base + block * self.blockBytes, self.scales.base + first,
              min(Self.width, self.outputs - first), y + start * outputStride + first, outputStride,
              accumulate ? 1 : 0, next)
          }
        }
      }
    }

    func multiplyTransposed(
      _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
    ) {
      preconditionFailure("int8 weights are for sampling and scoring: train with dtype bfloat16 or float32")
    }
  }

  /// The quantized rows of the product that the calling thread is at; its team's threads read them. Grows, never shrinks.
  private final class Int8Activations {
    private(set) var values: UnsafeMutablePointer<Int8>
    private(set) var scales: UnsafeMutablePointer<Float>
    private(set) var offsets: UnsafeMutablePointer<Int32>
    private var byteCount = 4096
    private var groupCount = 64

    private init() {
      values = Self.allocate(byteCount).bindMemory(to: Int8.self, capacity: byteCount)
      scales = Self.allocate(groupCount * 4).bindMemory(to: Float.self, capacity: groupCount)
      offsets = Self.allocate(groupCount * 4).bindMemory(to: Int32.self, capacity: groupCount)
    }

    deinit {
      free(values)
      free(scales)
      free(offsets)
    }

    private static let threadKey: pthread_key_t = {
      var key = pthread_key_t()
      pthread_key_create(&key) { value in
        if let value { Unmanaged<Int8Activations>.fromOpaque(value).release() }
      }
      return key
    }()

    static func ofThisThread(bytes: Int, groups: Int) -> Int8Activations {
      let found: Int8Activations
      if let value = pthread_getspecific(threadKey) {
        found = Unmanaged<Int8Activations>.fromOpaque(value).takeUnretainedValue()
      } else {
        found = Int8Activations()
        pthread_setspecific(threadKey, Unmanaged.passRetained(found).toOpaque())
      }
      found.reserve(bytes: bytes, groups: groups)
      return found
    }

    private func reserve(bytes: Int, groups: Int) {
      if byteCount < bytes {
        byteCount = (bytes + 4095) / 4096 * 4096
        free(values)
        values = Self.allocate(byteCount).bindMemory(to: Int8.self, capacity: byteCount)
      }
      if groupCount < groups {
        groupCount = (groups + 63) / 64 * 64
        free(scales)
        free(offsets)
        scales = Self.allocate(groupCount * 4).bindMemory(to: Float.self, capacity: groupCount)
        offsets = Self.allocate(groupCount * 4).bindMemory(to: Int32.self, capacity: groupCount)
      }
    }

    private static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
      guard let memory = aligned_alloc(64, bytes) else {
        MemoryShortage.end(bytes: bytes, for: "the quantized rows of a product")
      }
      return memory
    }
  }
#endif
