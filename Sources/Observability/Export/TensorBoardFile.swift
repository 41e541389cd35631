import Foundation

/// A file of scalars that TensorBoard reads: `events.out.tfevents.SECONDS.HOST.PROCESS`.
///
/// The file is a TFRecord of `Event` messages (tensorflow/core/util/event.proto): per record its length, the masked CRC-32C of
/// the length, the message and its masked CRC-32C. A run that is resumed writes a file of its own, whose first event tells
/// TensorBoard to forget the steps that are made again.
public struct TensorBoardFile: Sendable {
  public let path: String

  /// Begins a file.
  /// - Parameters:
  ///   - step: after which the run begins or is resumed.
  ///   - time: seconds since 1970.
  /// - Throws: `ObservabilityError` when it cannot be written.
  public init(directory: String, after step: Int, time: Double) throws(ObservabilityError) {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw ObservabilityError("\(directory): cannot be created: \(error.localizedDescription)")
    }
    let host = ProcessInfo.processInfo.hostName
    path = "\(directory)/events.out.tfevents.\(Int(time)).\(host).\(ProcessInfo.processInfo.processIdentifier).\(step)"
    try append(Self.event(time: time, step: 0) { $0.bytes(3, Array("brain.Event:2".utf8)) })
    // SessionLog with status START: events of this step and later ones, in older files, are void.
    try append(
      Self.event(time: time, step: step + 1) { event in
        var log = Message()
        log.integer(1, 1)
        event.bytes(7, log.bytes)
      })
  }

  /// Writes a step's scalars.
  /// - Throws: `ObservabilityError` when the disk refuses.
  public func append(_ record: MetricsRecord) throws(ObservabilityError) {
    try append(Self.scalars(record))
  }

  static func scalars(_ record: MetricsRecord) -> [UInt8] {
    event(time: record.time, step: record.step) { event in
      var summary = Message()
      for (name, value) in record.metrics.sorted(by: { $0.key < $1.key }) {
        var scalar = Message()
        scalar.bytes(1, Array(name.utf8))
        scalar.float(2, Float(value))
        summary.bytes(1, scalar.bytes)
      }
      event.bytes(5, summary.bytes)
    }
  }

  private static func event(time: Double, step: Int, _ what: (inout Message) -> Void) -> [UInt8] {
    var event = Message()
    event.double(1, time)
    event.integer(2, UInt64(max(0, step)))
    what(&event)
    return event.bytes
  }

  /// A message with its frame.
  static func record(_ message: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(message.count))
    return length + littleEndian(CRC32C.masked(length)) + message + littleEndian(CRC32C.masked(message))
  }

  private func append(_ message: [UInt8]) throws(ObservabilityError) {
    let bytes = Self.record(message)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw ObservabilityError("open", path) }
    defer { close(descriptor) }
    guard write(descriptor, bytes, bytes.count) == bytes.count else { throw ObservabilityError("append to", path) }
  }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The fields of a protocol-buffers message.
private struct Message {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F | 0x80))
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func tag(_ field: UInt64, _ type: UInt64) { varint(field << 3 | type) }

  mutating func integer(_ field: UInt64, _ value: UInt64) {
    tag(field, 0)
    varint(value)
  }

  mutating func double(_ field: UInt64, _ value: Double) {
    tag(field, 1)
    bytes += littleEndian(value.bitPattern)
  }

  mutating func float(_ field: UInt64, _ value: Float) {
    tag(field, 5)
    bytes += littleEndian(value.bitPattern)
  }

  mutating func bytes(_ field: UInt64, _ value: [UInt8]) {
    tag(field, 2)
    varint(UInt64(value.count))
    bytes += value
  }
}
