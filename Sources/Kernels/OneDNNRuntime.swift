import Machine

#if arch(x86_64)
  import COneDNN
  import Synchronization

  #if canImport(Glibc)
    import Glibc
  #endif

  /// The process's oneDNN engine and the single-threaded matmul primitives made so far.
  ///
  /// A primitive is identified by its shape, so that all layers share it; it is never destroyed (their number is bounded
  /// by the shapes of the models loaded, times the row counts that `rowTiles` produces).
  final class OneDNNRuntime: @unchecked Sendable {
    // Unchecked: `engine` is immutable after init and oneDNN's engines are thread-safe; the table is under its lock.
    static let shared = OneDNNRuntime()

    let engine: dnnl_engine_t
    private let products = Mutex<[ProductShape: MatrixPrimitive]>([:])
    private let threadKey: pthread_key_t

    private init() {
      omp_set_num_threads(1)
      var engine: dnnl_engine_t?
      require(dnnl_engine_create(&engine, dnnl_cpu, 0), "dnnl_engine_create")
      self.engine = engine!
      var key = pthread_key_t()
      pthread_key_create(&key) { value in
        if let value { Unmanaged<OneDNNThread>.fromOpaque(value).release() }
      }
      threadKey = key
    }

    /// The calling thread's stream and memory objects.
    @inline(__always)
    func thread() -> OneDNNThread {
      if let value = pthread_getspecific(threadKey) {
        return Unmanaged<OneDNNThread>.fromOpaque(value).takeUnretainedValue()
      }
      omp_set_num_threads(1)
      let thread = OneDNNThread(engine: engine)
      pthread_setspecific(threadKey, Unmanaged.passRetained(thread).toOpaque())
      return thread
    }

    func primitive(_ shape: ProductShape) -> MatrixPrimitive {
      products.withLock { products in
        if let found = products[shape] { return found }
        let made = MatrixPrimitive(shape, index: products.count, engine: engine)
        products[shape] = made
        return made
      }
    }
  }

  /// c (m x n, fp32, rows `cStride` apart) (+)= a (m x k) b (k x n), both bf16.
  struct ProductShape: Hashable {
    enum Layout: Hashable {
      /// b in the blocked layout that oneDNN chose for `k` and `n`.
      case packed
      /// b row-major, a transposed: the element (i, l) of a is at l * aStride + i.
      case weightGradient
    }
    var layout: Layout
    var m: Int
    var n: Int
    var k: Int
    var aStride: Int
    var bStride: Int
    var cStride: Int
    var accumulate: Bool
  }

  /// Splits a row count into tiles whose sizes come from a small set, so that few primitives are made.
  @inline(__always)
  func forEachRowTile(_ rows: Int, largest: Int = 256, _ body: (_ start: Int, _ count: Int) -> Void) {
    var start = 0
    var size = largest
    while start < rows {
      while size > 64 && size > rows - start { size /= 2 }
      let count = min(size, rows - start)
      body(start, count)
      start += count
    }
  }

  /// A matmul primitive and the memory descriptors of its arguments.
  final class MatrixPrimitive: @unchecked Sendable {
    // Unchecked: immutable after init; oneDNN primitives may be executed by several threads when each brings its own
    // scratchpad (`dnnl_scratchpad_mode_user`).
    let index: Int
    let primitive: dnnl_primitive_t
    let descriptor: dnnl_primitive_desc_t
    let aDescriptor: dnnl_memory_desc_t
    let bDescriptor: dnnl_memory_desc_t
    let cDescriptor: dnnl_memory_desc_t
    let scratchpadDescriptor: dnnl_memory_desc_t
    let scratchpadBytes: Int

    init(_ shape: ProductShape, index: Int, engine: dnnl_engine_t) {
      self.index = index
      var a = dnnl_memory_desc_t()
      var b = dnnl_memory_desc_t()
      var c = dnnl_memory_desc_t()
      let (m, n, k) = (Int64(shape.m), Int64(shape.n), Int64(shape.k))
      switch shape.layout {
      case .packed:
        require(dnnl_memory_desc_init_by_strides(&a, 2, [m, k], dnnl_bf16, [Int64(shape.aStride), 1]), "a")
        b = OneDNNRuntime.packedLayout(k: shape.k, n: shape.n, engine: engine)
      case .weightGradient:
        require(dnnl_memory_desc_init_by_strides(&a, 2, [m, k], dnnl_bf16, [1, Int64(shape.aStride)]), "a")
        require(dnnl_memory_desc_init_by_strides(&b, 2, [k, n], dnnl_bf16, [Int64(shape.bStride), 1]), "b")
      }
      require(dnnl_memory_desc_init_by_strides(&c, 2, [m, n], dnnl_f32, [Int64(shape.cStride), 1]), "c")
      var attributes: dnnl_primitive_attr_t?
      require(dnnl_primitive_attr_create(&attributes), "attr")
      require(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), "scratchpad")
      if shape.accumulate {
        var operations: dnnl_post_ops_t?
        require(dnnl_post_ops_create(&operations), "post ops")
        require(dnnl_post_ops_append_sum(operations, 1), "sum")
        require(dnnl_primitive_attr_set_post_ops(attributes, operations), "post ops")
        dnnl_post_ops_destroy(operations)
      }
      var product = dnnl_matmul_desc_t()
      require(dnnl_matmul_desc_init(&product, &a, &b, nil, &c), "matmul")
      var descriptor: dnnl_primitive_desc_t?
      require(dnnl_primitive_desc_create(&descriptor, &product, attributes, engine, nil), "matmul \(shape)")
      dnnl_primitive_attr_destroy(attributes)
      var primitive: dnnl_primitive_t?
      require(dnnl_primitive_create(&primitive, descriptor), "matmul \(shape)")
      self.primitive = primitive!
      self.descriptor = descriptor!
      (aDescriptor, bDescriptor, cDescriptor) = (a, b, c)
      scratchpadDescriptor = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0).pointee
      scratchpadBytes = withUnsafePointer(to: scratchpadDescriptor) { dnnl_memory_desc_get_size($0) }
    }
  }

  extension OneDNNRuntime {
    /// The blocked layout of a k x n bf16 weight panel, as oneDNN chooses it for a batch of 64.
    static func packedLayout(k: Int, n: Int, engine: dnnl_engine_t) -> dnnl_memory_desc_t {
      var a = dnnl_memory_desc_t()
      var b = dnnl_memory_desc_t()
      var c = dnnl_memory_desc_t()
      require(dnnl_memory_desc_init_by_strides(&a, 2, [64, Int64(k)], dnnl_bf16, [Int64(k), 1]), "a")
      require(dnnl_memory_desc_init_by_tag(&b, 2, [Int64(k), Int64(n)], dnnl_bf16, dnnl_format_tag_any), "b")
      require(dnnl_memory_desc_init_by_strides(&c, 2, [64, Int64(n)], dnnl_f32, [Int64(n), 1]), "c")
      var product = dnnl_matmul_desc_t()
      require(dnnl_matmul_desc_init(&product, &a, &b, nil, &c), "matmul")
      var descriptor: dnnl_primitive_desc_t?
      require(dnnl_primitive_desc_create(&descriptor, &product, nil, engine, nil), "matmul")
      defer { dnnl_primitive_desc_destroy(descriptor) }
      return dnnl_primitive_desc_query_md(descriptor, dnnl_query_weights_md, 0).pointee
    }
  }

  /// One thread's stream, scratchpad and memory objects.
  final class OneDNNThread {
    private struct Memories {
      var a: dnnl_memory_t
      var b: dnnl_memory_t?
      var c: dnnl_memory_t
      var scratchpad: dnnl_memory_t?
    }

    private let engine: dnnl_engine_t
    private let stream: dnnl_stream_t
    private var scratchpad: UnsafeMutableRawPointer?
    private var scratchpadBytes = 0
    private var memories: [Memories?] = []
    private var tileBuffer: UnsafeMutablePointer<Float>?
    private var tileCount = 0

    init(engine: dnnl_engine_t) {
      self.engine = engine
      var stream: dnnl_stream_t?
      require(dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue)), "stream")
      self.stream = stream!
    }

    deinit {
      for case let memory? in memories {
        dnnl_memory_destroy(memory.a)
        if let b = memory.b { dnnl_memory_destroy(b) }
        dnnl_memory_destroy(memory.c)
        if let scratchpad = memory.scratchpad { dnnl_memory_destroy(scratchpad) }
      }
      dnnl_stream_destroy(stream)
      free(scratchpad)
      free(tileBuffer)
    }

    /// Scratch for one tile of a product; valid until the next call on this thread.
    func tile(count: Int) -> UnsafeMutablePointer<Float> {
      if tileCount < count {
        free(tileBuffer)
        tileCount = (count + 1023) / 1024 * 1024
        guard let memory = aligned_alloc(4096, tileCount * 4) else {
          MemoryShortage.end(bytes: tileCount * 4, for: "a tile of a product")
        }
        tileBuffer = memory.bindMemory(to: Float.self, capacity: tileCount)
      }
      return tileBuffer!
    }

    /// - Parameters:
    ///   - packed: b as a memory object of its own, or
    ///   - b: b as a plain pointer.
    func execute(
      _ product: MatrixPrimitive, a: UnsafeMutableRawPointer, packed: dnnl_memory_t?, b: UnsafeMutableRawPointer?,
      c: UnsafeMutableRawPointer
    ) {
      while memories.count <= product.index { memories.append(nil) }
      if scratchpadBytes < product.scratchpadBytes {
        free(scratchpad)
        scratchpadBytes = (product.scratchpadBytes + 4095) / 4096 * 4096
        guard let memory = aligned_alloc(4096, scratchpadBytes) else {
          MemoryShortage.end(bytes: scratchpadBytes, for: "the scratchpad of a product")
        }
        scratchpad = memory
      }
      let memory = memories[product.index] ?? makeMemories(product, packed: packed != nil)
      dnnl_memory_set_data_handle(memory.a, a)
      dnnl_memory_set_data_handle(memory.c, c)
      if let b { dnnl_memory_set_data_handle(memory.b, b) }
      if let pad = memory.scratchpad { dnnl_memory_set_data_handle(pad, scratchpad) }
      withUnsafeTemporaryAllocation(of: dnnl_exec_arg_t.self, capacity: 4) { arguments in
        arguments[0] = dnnl_exec_arg_t(arg: DNNL_ARG_SRC, memory: memory.a)
        arguments[1] = dnnl_exec_arg_t(arg: DNNL_ARG_WEIGHTS, memory: packed ?? memory.b)
        arguments[2] = dnnl_exec_arg_t(arg: DNNL_ARG_DST, memory: memory.c)
        arguments[3] = dnnl_exec_arg_t(arg: DNNL_ARG_SCRATCHPAD, memory: memory.scratchpad)
        require(
          dnnl_primitive_execute(product.primitive, stream, memory.scratchpad == nil ? 3 : 4, arguments.baseAddress),
          "matmul execute")
      }
    }

    private func makeMemories(_ product: MatrixPrimitive, packed: Bool) -> Memories {
      func memory(_ descriptor: dnnl_memory_desc_t) -> dnnl_memory_t {
        var descriptor = descriptor
        var memory: dnnl_memory_t?
        require(dnnl_memory_create(&memory, &descriptor, engine, nil), "memory")
        return memory!
      }
      let made = Memories(
        a: memory(product.aDescriptor), b: packed ? nil : memory(product.bDescriptor), c: memory(product.cDescriptor),
        scratchpad: product.scratchpadBytes > 0 ? memory(product.scratchpadDescriptor) : nil)
      memories[product.index] = made
      return made
    }
  }

  let DNNL_ARG_SRC: Int32 = 1
  let DNNL_ARG_WEIGHTS: Int32 = 33
  let DNNL_ARG_DST: Int32 = 17
  let DNNL_ARG_SCRATCHPAD: Int32 = 80
  let DNNL_ARG_FROM: Int32 = 1
  let DNNL_ARG_TO: Int32 = 17

  /// oneDNN fails here only for lack of memory or for a shape that no caller can form; neither can be recovered from.
  @inline(__always)
  func require(_ status: dnnl_status_t, _ what: @autoclosure () -> String) {
    if status == dnnl_out_of_memory {
      MemoryShortage.end(bytes: 0, for: "oneDNN's \(what()), which does not say how much,")
    }
    guard status == dnnl_success else { fatalError("oneDNN: \(what()) failed with status \(status.rawValue)") }
  }
#endif
