import CMemoryShortage
import COpenBLAS
import Machine
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// OpenBLAS, loaded when the first product needs it.
///
/// A library that is linked is there before `main`: it would start a thread for every processor, and each thread would ask
/// for a buffer of 128 MiB, again and again without end where an address-space limit refuses it. Loaded here it is told
/// beforehand to start none, and buffers are only asked for when they can be had.
struct OpenBLASLibrary: @unchecked Sendable {
  // Unchecked: functions of a library that stays loaded, callable from any thread.
  typealias SingleProduct =
    @convention(c) (
      CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, Int32, Int32, Int32, Float, UnsafePointer<Float>?, Int32,
      UnsafePointer<Float>?, Int32, Float, UnsafeMutablePointer<Float>?, Int32
    ) -> Void
  private typealias SetThreads = @convention(c) (Int32) -> Void
  private typealias Configuration = @convention(c) () -> UnsafeMutablePointer<CChar>?
  private typealias TakeBuffer = @convention(c) (Int32) -> UnsafeMutableRawPointer?
  private typealias GiveBuffer = @convention(c) (UnsafeMutableRawPointer?) -> Void

  /// C (m x n) = alpha op(A) op(B) + beta C, one thread a call.
  let product: SingleProduct
  /// Version and processor, in the library's words.
  let summary: String
  private let takeBuffer: TakeBuffer?
  private let giveBuffer: GiveBuffer?

  /// The loaded library.
  static let shared = OpenBLASLibrary()

  /// What a product asks for to pack its factors in, on x86-64 and arm64 alike.
  static let bufferBytes = 128 << 20

  private static let buffers = Mutex(0)
  private static let reserved = Atomic<Int>(0)

  private init() {
    // Its own threads would fight the team's, and how it splits a product depends on the machine.
    let name = "OPENBLAS_NUM_THREADS"
    let before = getenv(name).map { String(cString: $0) }
    setenv(name, "1", 1)
    let found = dlopen("libopenblas.so.0", RTLD_NOW) ?? dlopen("libopenblas.so", RTLD_NOW)
    // Processes that are started from here decide for themselves.
    if let before { setenv(name, before, 1) } else { unsetenv(name) }
    guard let handle = found else {
      let reason = dlerror().map { String(cString: $0) } ?? "unknown error"
      // Some 40 MiB of code and data.
      if !MemoryShortage.canMap(64 << 20) { MemoryShortage.end(bytes: 64 << 20, for: "loading OpenBLAS") }
      softgrpo_library_end("OpenBLAS", reason)
    }
    guard let product = dlsym(handle, "cblas_sgemm"), let setThreads = dlsym(handle, "openblas_set_num_threads") else {
      softgrpo_library_end("OpenBLAS", "libopenblas.so.0 is another library")
    }
    self.product = unsafeBitCast(product, to: SingleProduct.self)
    unsafeBitCast(setThreads, to: SetThreads.self)(1)
    summary =
      dlsym(handle, "openblas_get_config").flatMap { unsafeBitCast($0, to: Configuration.self)() }
      .map { String(cString: $0) } ?? "unknown version"
    takeBuffer = dlsym(handle, "blas_memory_alloc").map { unsafeBitCast($0, to: TakeBuffer.self) }
    giveBuffer = dlsym(handle, "blas_memory_free").map { unsafeBitCast($0, to: GiveBuffer.self) }
  }

  /// Has the library map the buffers of `threads` products at once, or ends the process with what is short: it would ask for
  /// them without end. To be called before products of so many threads.
  func reserve(threads: Int) {
    if Self.reserved.load(ordering: .relaxed) >= threads { return }
    Self.buffers.withLock { buffers in
      guard buffers < threads else { return }
      let more = (threads - buffers) * Self.bufferBytes
      guard MemoryShortage.canMap(more + (1 << 20)) else {
        MemoryShortage.end(
          bytes: more, for: "the work buffers of OpenBLAS, \(Self.bufferBytes >> 20) MiB for each of \(threads) threads"
        )
      }
      // Taken all at once, so that each is a buffer of its own; the library keeps what it is given back.
      if let takeBuffer, let giveBuffer {
        let taken = (0..<threads).map { _ in takeBuffer(0) }
        for buffer in taken { giveBuffer(buffer) }
      }
      buffers = threads
      Self.reserved.store(threads, ordering: .relaxed)
    }
  }
}
