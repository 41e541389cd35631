import Kernels
import Synchronization

extension WeightSnapshot {
  /// Applies deltas one after the other in new memory and verifies what comes out. This version stays as it is: decoding goes
  /// on with it meanwhile. The new memory is that of a version that ended, where there is one.
  ///
  /// - Parameters:
  ///   - deltas: the first one's parent is this version, each later one's the version before it.
  ///   - description: the version that must come out.
  ///   - team: takes sections.
  /// - Throws: `WeightSyncError` when the deltas do not follow each other, do not fit, or lead to other bytes.
  public func applying(
    _ deltas: [WeightDelta], to description: VersionDescription, team: ThreadTeam
  ) throws -> WeightSnapshot {
    var identity = self.description.identity
    var headers: [DeltaHeader] = []
    for delta in deltas {
      guard delta.description.parent == identity else {
        throw WeightSyncError("the delta to version \(delta.description.version) does not follow version \(version)")
      }
      identity = delta.description.identity
      headers.append(try delta.bytes.withUnsafeBytes { try DeltaHeader($0) })
    }
    guard identity == description.identity, description.byteCount == byteCount, description.adapter == nil,
      byteCount % 2 == 0, headers.allSatisfy({ $0.weightCount == byteCount / 2 })
    else { throw WeightSyncError("the deltas from version \(version) do not lead to version \(description.version)") }

    // Sections of all deltas start where those of the coarsest start: they are multiples of each other or taken whole.
    let size = headers.map(\.sectionSize).max() ?? DeltaFormat.sectionWeightCount
    guard headers.allSatisfy({ size % $0.sectionSize == 0 }) else {
      throw WeightSyncError("the deltas to version \(description.version) are cut differently")
    }
    let buffer = try WeightBuffer(byteCount: byteCount)
    var leaves = [Digest](repeating: .zero, count: VersionHash.leafCount(byteCount: byteCount))
    let failure = Mutex<WeightSyncError?>(nil)
    let workspaces = DeltaWorkspaces(team)
    let count = byteCount / 2
    withBytes { source in
      leaves.withUnsafeMutableBufferPointer { leaves in
        nonisolated(unsafe) let (source, leaves) = (source, leaves)
        team.run(DeltaFormat.sectionCount(weights: count, ofSection: size)) { index, thread in
          if failure.withLock({ $0 != nil }) { return }
          let range = index * size..<min((index + 1) * size, count)
          let target = buffer.bytes.baseAddress! + range.lowerBound * 2
          target.copyMemory(from: source.baseAddress! + range.lowerBound * 2, byteCount: range.count * 2)
          do {
            for (delta, header) in zip(deltas, headers) {
              try Self.apply(
                delta, header, to: target.assumingMemoryBound(to: UInt16.self), range: range,
                workspaces.zstandard[thread], scratch: workspaces.scratch(thread))
            }
          } catch {
            failure.withLock { $0 = error as? WeightSyncError ?? WeightSyncError("\(error)") }
            return
          }
          let bytes = UnsafeRawBufferPointer(start: target, count: range.count * 2)
          for start in stride(from: 0, to: bytes.count, by: VersionHash.leafByteCount) {
            leaves[(range.lowerBound * 2 + start) / VersionHash.leafByteCount] = VersionHash.leaf(
              UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + VersionHash.leafByteCount, bytes.count)]))
          }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
    let root = VersionHash.root(ofLeaves: leaves)
    guard root == description.root else {
      throw WeightSyncError(
        "the deltas from version \(version) lead to \(root), not to version \(description.version) with \(description.root)"
      )
    }
    return WeightSnapshot(verified: description, leaves: leaves, buffer: buffer)
  }

  /// One delta's sections within `range`, which starts at `target`.
  private static func apply(
    _ delta: WeightDelta, _ header: DeltaHeader, to target: UnsafeMutablePointer<UInt16>, range: Range<Int>,
    _ zstandard: Zstandard, scratch: UnsafeMutablePointer<UInt32>
  ) throws {
    for index in range.lowerBound / header.sectionSize...(range.upperBound - 1) / header.sectionSize {
      let section = header.sections[index]
      if section.changed == 0 { continue }
      let start = index * header.sectionSize
      let count = min(header.sectionSize, header.weightCount - start)
      try delta.bytes.withUnsafeBytes { bytes in
        var decoder = try DeltaSectionDecoder(
          UnsafeRawBufferPointer(rebasing: bytes[section.payload]), changed: section.changed, count: count, zstandard)
        try decoder.apply(to: target + (start - range.lowerBound), scratch: scratch)
      }
    }
  }
}
