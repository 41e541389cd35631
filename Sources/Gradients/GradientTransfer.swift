import Coordination
import Machine
import Training
import Wire

/// A gradient on its way to the learner: chunks come in order, straight into the memory they are for.
struct GradientTransfer: Sendable {
  var worker: WorkerID
  let ready: GradientReady
  let payload: GradientPayload
  let started: Duration
  private(set) var lastArrival: Duration
  /// The next chunk to come, and the next to be asked for.
  private(set) var nextExpected = 0
  private var nextRequested = 0
  private let chunkCount: Int

  init(_ ready: GradientReady, worker: WorkerID, elementCount: Int, type: GradientType, now: Duration) {
    self.worker = worker
    self.ready = ready
    payload = GradientPayload(count: elementCount, type: type)
    started = now
    lastArrival = now
    chunkCount = (payload.byteCount + GradientChunk.byteCount - 1) / GradientChunk.byteCount
  }

  var isComplete: Bool { nextExpected == chunkCount }

  /// Bytes a second so far; nil before the first.
  func bytesPerSecond(_ now: Duration) -> Double? {
    nextExpected == 0 || now <= started
      ? nil : Double(nextExpected * GradientChunk.byteCount) / max((now - started).inSeconds, 1e-6)
  }

  var bytesSoFar: Int { min(payload.byteCount, nextExpected * GradientChunk.byteCount) }
  var bytesLeft: Int { payload.byteCount - nextExpected * GradientChunk.byteCount }

  /// What to ask for next so that at most `window` chunks are on their way; nil: nothing now. Asked for in batches: a request
  /// for each chunk would double the number of messages.
  mutating func request(window: Int) -> GradientPull? {
    let outstanding = nextRequested - nextExpected
    guard nextRequested < chunkCount, outstanding <= window * 3 / 4, outstanding < window else { return nil }
    let count = min(window - outstanding, chunkCount - nextRequested, 64)
    defer { nextRequested += count }
    return GradientPull(leaseID: ready.leaseID, first: nextRequested, count: count)
  }

  /// - Throws: `WireError` for a chunk that was not asked for, or of another size.
  mutating func receive(_ chunk: GradientChunk, now: Duration) throws {
    // One that was asked for twice, after a stall.
    if chunk.index < nextExpected { return }
    guard chunk.index == nextExpected, chunk.index < nextRequested else {
      throw WireError("GradientChunk \(chunk.index) was not asked for")
    }
    let start = chunk.index * GradientChunk.byteCount
    guard chunk.bytes.count == min(GradientChunk.byteCount, payload.byteCount - start) else {
      throw WireError("GradientChunk \(chunk.index) has \(chunk.bytes.count) bytes")
    }
    UnsafeMutableRawBufferPointer(rebasing: payload.bytes[start..<start + chunk.bytes.count])
      .copyBytes(from: chunk.bytes)
    nextExpected += 1
    lastArrival = now
  }

  func isStalled(_ now: Duration, _ patience: Duration) -> Bool { now - lastArrival >= patience }

  /// Asks again for what has not come.
  mutating func forgetRequests(_ now: Duration) {
    nextRequested = nextExpected
    lastArrival = now
  }
}
