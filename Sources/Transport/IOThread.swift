import Glibc

/// A named operating-system thread for a poll loop: the cooperative pool is never blocked by sockets.
///
/// `@unchecked Sendable`: `join` is the only operation; its state is guarded by the pthread mutex.
public final class IOThread: @unchecked Sendable {
  private final class Body {
    let name: String
    let run: () -> Void

    init(_ name: String, _ run: @escaping () -> Void) {
      self.name = name
      self.run = run
    }

    /// On the new thread: signals are the main thread's business.
    func start() {
      var everything = sigset_t()
      sigfillset(&everything)
      pthread_sigmask(SIG_BLOCK, &everything, nil)
      if let file = fopen("/proc/thread-self/comm", "w") {
        fputs(String(name.prefix(15)), file)
        fclose(file)
      }
      run()
    }
  }

  private let thread: pthread_t
  private let joinMutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var isJoined = false

  /// Starts the thread.
  /// - Parameters:
  ///   - name: shown by debuggers and `top -H`; cut to 15 bytes.
  ///   - body: owns what it captures from here on.
  /// - Throws: `TransportError` when the system has no resources left.
  public init(name: String, _ body: sending @escaping () -> Void) throws {
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Body(name, body))
    let status = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().start()
        return nil
      }, box.toOpaque())
    guard status == 0 else {
      box.release()
      throw TransportError("cannot start the thread \(name): \(TransportError.text(of: status))")
    }
    self.thread = thread
    pthread_mutex_init(joinMutex, nil)
  }

  deinit {
    if !isJoined { pthread_detach(thread) }
    pthread_mutex_destroy(joinMutex)
    joinMutex.deallocate()
  }

  /// Waits until the body has returned. Any thread but this one may call it, more than once.
  public func join() {
    pthread_mutex_lock(joinMutex)
    defer { pthread_mutex_unlock(joinMutex) }
    if !isJoined {
      pthread_join(thread, nil)
      isJoined = true
    }
  }
}
