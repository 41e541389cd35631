import Kernels
import Training
import Transformer
import WeightSync

extension ModelWeights {
  /// The bf16 bytes, lent for the length of the call.
  package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try body(UnsafeRawBufferPointer(elements))
  }

  /// Merkle root of the bf16 bytes.
  package func root(team: ThreadTeam) -> Digest {
    withBytes { VersionHash.root(ofLeaves: VersionHash.leaves(of: $0, team: team)) }
  }

  /// The weights as the frozen model of the KL term, without a copy.
  package func referenceSnapshot(team: ThreadTeam) -> WeightSnapshot {
    withBytes { WeightSnapshot(version: VersionDescription.referenceVersion, borrowing: $0, from: self, team: team) }
  }

  /// The weights as the base of adapter versions, without a copy.
  package func baseSnapshot(team: ThreadTeam) -> WeightSnapshot {
    withBytes { WeightSnapshot(version: AdapterDescription.baseVersion, borrowing: $0, from: self, team: team) }
  }
}

extension WeightSnapshot {
  /// A version that consists of adapters.
  ///
  /// - Parameters:
  ///   - base: what they are merged into.
  ///   - mergedRoot: Merkle root of the merged model.
  package convenience init(
    version: Int, parent: Digest, adapters: AdapterWeights, base: WeightSnapshot, mergedRoot: Digest
  ) throws {
    let options = adapters.layout.options
    try self.init(
      version: version, parent: parent, byteCount: adapters.layout.count * 2,
      adapter: AdapterDescription(
        baseRoot: base.description.root, baseByteCount: base.byteCount, rank: options.rank, scale: options.scale,
        targets: options.targets.map(\.rawValue), mergedRoot: mergedRoot)
    ) { $0.copyMemory(from: UnsafeRawBufferPointer(adapters.elements)) }
  }
}

extension TrainableState {
  /// The state's weights as a version: of adapters, these.
  ///
  /// - Parameters:
  ///   - weights: what the state stands for now; they are not copied.
  ///   - base: what adapters are merged into; nil: every weight is trained.
  /// - Throws: `WeightSyncError` when memory is short.
  package func snapshot(
    _ weights: ModelWeights, version: Int, parent: Digest, base: WeightSnapshot?, team: ThreadTeam
  ) throws -> WeightSnapshot {
    if let base, let state = self as? AdapterState {
      return try WeightSnapshot(
        version: version, parent: parent, adapters: state.adapters, base: base, mergedRoot: weights.root(team: team))
    }
    return weights.withBytes {
      WeightSnapshot(version: version, parent: parent, borrowing: $0, from: weights, team: team)
    }
  }
}

extension AdapterWeights {
  /// The adapters of a version.
  ///
  /// - Throws: `LoadingError` when the version does not describe adapters of this model.
  package convenience init(_ snapshot: WeightSnapshot, model: ParameterLayout) throws {
    guard let description = snapshot.description.adapter else {
      throw LoadingError("version \(snapshot.version) is a whole model, not adapters")
    }
    let targets = try description.targets.map { name in
      guard let target = AdapterTarget(rawValue: name) else {
        throw LoadingError("the learner adapts '\(name)', which this worker does not know: run the learner's version")
      }
      return target
    }
    let options = AdapterOptions(
      rank: description.rank, alpha: Double(description.scale) * Double(description.rank), targets: targets)
    guard options.scale == description.scale else {
      throw LoadingError("version \(snapshot.version): the adapters' scale \(description.scale) is not usable")
    }
    let layout = AdapterLayout(model, options: options)
    guard snapshot.byteCount == layout.count * 2 else {
      throw LoadingError(
        "version \(snapshot.version) has \(snapshot.byteCount) bytes, its adapters need \(layout.count * 2)")
    }
    self.init(layout: layout)
    snapshot.withWeights { _ = elements.update(fromContentsOf: $0) }
  }
}
