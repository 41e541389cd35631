import CZstd

/// Frames of Zstandard, one context for many: its tables are allocated once.
final class Zstandard {
  /// Literals are what there is to compress; higher levels only look longer for repetitions that are not there.
  private static let level: Int32 = 1

  // libzstd fails here only when memory is exhausted, as any Swift allocation would.
  private let compressor = ZSTD_createCCtx()!
  private let decompressor = ZSTD_createDCtx()!

  deinit {
    ZSTD_freeCCtx(compressor)
    ZSTD_freeDCtx(decompressor)
  }

  /// One frame that states its content's size; nil when it would not be smaller than the content.
  func compress(_ bytes: [UInt8]) -> [UInt8]? {
    let bound = ZSTD_compressBound(bytes.count)
    let frame = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      let result = ZSTD_compressCCtx(compressor, buffer.baseAddress, bound, bytes, bytes.count, Self.level)
      count = ZSTD_isError(result) == 0 ? result : 0
    }
    return frame.isEmpty || frame.count >= bytes.count ? nil : frame
  }

  /// - Parameters:
  ///   - frame: exactly one frame.
  ///   - byteCount: bytes of its content, which its header must state: nothing larger is ever allocated.
  /// - Throws: `WeightSyncError` when it is anything else.
  func decompress(_ frame: UnsafeRawBufferPointer, byteCount: Int) throws -> [UInt8] {
    guard let base = frame.baseAddress, ZSTD_findFrameCompressedSize(base, frame.count) == frame.count,
      ZSTD_getFrameContentSize(base, frame.count) == UInt64(byteCount)
    else { throw WeightSyncError("a compressed stream is not one frame of \(byteCount) bytes") }
    var isWhole = false
    let bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
      isWhole = ZSTD_decompressDCtx(decompressor, buffer.baseAddress, byteCount, base, frame.count) == byteCount
      count = isWhole ? byteCount : 0
    }
    guard isWhole else { throw WeightSyncError("a compressed stream of \(byteCount) bytes is damaged") }
    return bytes
  }
}
