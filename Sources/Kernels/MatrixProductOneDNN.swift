import Machine

#if arch(x86_64)
  import COneDNN

  /// bf16 products with fp32 accumulation on oneDNN: weights packed once per version, panels taken by our own threads.
  public struct OneDNNBackend: MatrixBackend {
    public init() {}

    public var isBatchInvariant: Bool { true }
    public var computeType: ComputeType { .bfloat16 }
    public var summary: String {
      let version = dnnl_version().pointee
      return "oneDNN \(version.major).\(version.minor).\(version.patch), "
        + (ProcessorFeatures.current.flags.contains("amx_bf16") ? "AMX" : "AVX512-BF16")
    }

    /// The instruction set is the one that the library may use, which its environment variables can lower.
    public var arithmetic: String {
      let version = dnnl_version().pointee
      let commit = version.hash.map { String(cString: $0).prefix(12) } ?? "unknown"
      return "bfloat16, oneDNN \(version.major).\(version.minor).\(version.patch) (\(commit)), instruction set "
        + String(dnnl_get_effective_cpu_isa().rawValue, radix: 16)
    }

    public func prepare(
      _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
    ) -> any WeightMatrix {
      OneDNNWeightMatrix(weights, outputs: outputs, inputs: inputs, transposed: transposed, team: team)
    }

    public func accumulateWeightGradient(
      _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
      accumulate: Bool, team: ThreadTeam
    ) {
      guard case .bfloat16(let dy) = dy, case .bfloat16(let x) = x else {
        preconditionFailure("bf16 operands expected")
      }
      let pieces = panels(of: outputs, atMost: 256)
      let runtime = OneDNNRuntime.shared
      team.run(pieces.count) { task, _ in
        let panel = pieces[task]
        if rows == 0 && !accumulate {
          return (dW + panel.lowerBound * inputs).update(repeating: 0, count: panel.count * inputs)
        }
        let thread = runtime.thread()
        forEachRowTile(rows, largest: 1024) { start, count in
          let product = runtime.primitive(
            ProductShape(
              layout: .weightGradient, m: panel.count, n: inputs, k: count, aStride: outputs, bStride: inputs,
              cStride: inputs, accumulate: accumulate || start > 0))
          thread.execute(
            product, a: dy + start * outputs + panel.lowerBound, packed: nil, b: x + start * inputs,
            c: dW + panel.lowerBound * inputs)
        }
      }
    }
  }

  /// A weight matrix cut into panels of rows, each packed for oneDNN.
  final class OneDNNWeightMatrix: WeightMatrix {
    let outputs: Int
    let inputs: Int
    var computeType: ComputeType { .bfloat16 }
    private let forward: PackedPanels
    private let backward: PackedPanels?

    init(_ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam) {
      self.outputs = outputs
      self.inputs = inputs
      forward = PackedPanels(
        weights, k: inputs, n: outputs, kStride: 1, nStride: inputs, width: outputs > 8192 ? 2048 : 768, team: team)
      backward =
        transposed
        ? PackedPanels(weights, k: outputs, n: inputs, kStride: inputs, nStride: 1, width: 768, team: team) : nil
    }

    func multiply(
      _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool,
      team: ThreadTeam
    ) {
      guard case .bfloat16(let x) = x else { preconditionFailure("bf16 operand expected") }
      forward.multiply(x, rows: rows, into: y, outputStride: outputStride, accumulate: accumulate, team: team)
    }

    func multiplyTransposed(
      _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
    ) {
      guard case .bfloat16(let dy) = dy else { preconditionFailure("bf16 operand expected") }
      guard let backward else { preconditionFailure("this matrix was prepared without its transpose") }
      backward.multiply(dy, rows: rows, into: dx, outputStride: inputs, accumulate: accumulate, team: team)
    }
  }

  /// A k x n matrix as packed panels of columns.
  private final class PackedPanels: @unchecked Sendable {
    // Unchecked: the packed bytes are immutable after init; the primitives' table is append-only behind its own lock.
    private let k: Int
    private let pieces: [Range<Int>]
    private let memories: [dnnl_memory_t]
    private let storage: AlignedBuffer<UInt8>

    init(
      _ source: UnsafePointer<BFloat16>, k: Int, n: Int, kStride: Int, nStride: Int, width: Int, team: ThreadTeam
    ) {
      self.k = k
      pieces = panels(of: n, atMost: width)
      let runtime = OneDNNRuntime.shared
      let layouts = pieces.map { OneDNNRuntime.packedLayout(k: k, n: $0.count, engine: runtime.engine) }
      let sizes = layouts.map { layout in
        (withUnsafePointer(to: layout) { dnnl_memory_desc_get_size($0) } + 4095) / 4096 * 4096
      }
      storage = AlignedBuffer(count: sizes.reduce(0, +))
      var memories: [dnnl_memory_t] = []
      var offset = 0
      for (layout, size) in zip(layouts, sizes) {
        var layout = layout
        var memory: dnnl_memory_t?
        require(dnnl_memory_create(&memory, &layout, runtime.engine, storage.base + offset), "weights memory")
        memories.append(memory!)
        offset += size
      }
      self.memories = memories
      let pieces = pieces
      team.run(pieces.count) { task, _ in
        let panel = pieces[task]
        _ = runtime.thread()
        var plain = dnnl_memory_desc_t()
        require(
          dnnl_memory_desc_init_by_strides(
            &plain, 2, [Int64(k), Int64(panel.count)], dnnl_bf16, [Int64(kStride), Int64(nStride)]), "plain")
        var packed = layouts[task]
        var descriptor: dnnl_primitive_desc_t?
        require(
          dnnl_reorder_primitive_desc_create(&descriptor, &plain, runtime.engine, &packed, runtime.engine, nil),
          "reorder")
        var reorder: dnnl_primitive_t?
        require(dnnl_primitive_create(&reorder, descriptor), "reorder")
        var from: dnnl_memory_t?
        let start = UnsafeMutableRawPointer(mutating: source + panel.lowerBound * nStride)
        require(dnnl_memory_create(&from, &plain, runtime.engine, start), "plain memory")
        var stream: dnnl_stream_t?
        require(dnnl_stream_create(&stream, runtime.engine, UInt32(dnnl_stream_default_flags.rawValue)), "stream")
        let arguments = [
          dnnl_exec_arg_t(arg: DNNL_ARG_FROM, memory: from), dnnl_exec_arg_t(arg: DNNL_ARG_TO, memory: memories[task]),
        ]
        require(dnnl_primitive_execute(reorder, stream, 2, arguments), "reorder execute")
        require(dnnl_stream_wait(stream), "reorder wait")
        dnnl_memory_destroy(from)
        dnnl_stream_destroy(stream)
        dnnl_primitive_destroy(reorder)
        dnnl_primitive_desc_destroy(descriptor)
      }
    }

    deinit {
      for memory in memories { dnnl_memory_destroy(memory) }
    }

    func multiply(
      _ x: UnsafeMutablePointer<BFloat16>, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int,
      accumulate: Bool, team: ThreadTeam
    ) {
      let runtime = OneDNNRuntime.shared
      team.run(pieces.count) { task, _ in
        let panel = pieces[task]
        let thread = runtime.thread()
        let width = panel.count
        // oneDNN's fast kernels write dense rows only, so a tile lands in the thread's own buffer first.
        forEachRowTile(rows) { start, count in
          let product = runtime.primitive(
            ProductShape(
              layout: .packed, m: count, n: width, k: k, aStride: k, bStride: 0, cStride: width, accumulate: false))
          let out = y + start * outputStride + panel.lowerBound
          if width == outputStride && !accumulate {
            thread.execute(product, a: x + start * k, packed: memories[task], b: nil, c: out)
            return
          }
          let tile = thread.tile(count: count * width)
          thread.execute(product, a: x + start * k, packed: memories[task], b: nil, c: tile)
          for row in 0..<count {
            let (from, to) = (tile + row * width, out + row * outputStride)
            if accumulate { addRow(from, to: to, count: width) } else { to.update(from: from, count: width) }
          }
        }
      }
    }
  }
#endif
