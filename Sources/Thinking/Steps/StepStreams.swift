import Parameters

/// What one row of logits says of a step, beside its log-prob (`SideStream.recorded`).
public struct StepMeasures: Sendable, Equatable {
  /// In nats.
  public var entropy: Float
  public var largestProbability: Float

  public init(entropy: Float = .nan, largestProbability: Float = .nan) {
    self.entropy = entropy
    self.largestProbability = largestProbability
  }
}

/// The side streams of a segment: columns of one number a step. A column that nobody recorded is absent.
public struct StepStreams: Sendable, Equatable {
  public private(set) var columns: [SideStream: [Float]] = [:]

  public init() {}

  public var isEmpty: Bool { columns.isEmpty }

  public subscript(stream: SideStream) -> [Float]? {
    get { columns[stream] }
    set { columns[stream] = newValue }
  }

  /// Records a step.
  public mutating func append(_ step: StepMeasures) {
    columns[.entropy, default: []].append(step.entropy)
    columns[.largestProbability, default: []].append(step.largestProbability)
  }

  /// Of these columns alone.
  public func keeping(_ streams: some Sequence<SideStream>) -> StepStreams {
    var kept = StepStreams()
    for stream in streams { kept[stream] = columns[stream] }
    return kept
  }

  /// What is wrong with the columns of a segment of `count` steps, or nil.
  package func problem(count: Int, vocabularySize: Int) -> String? {
    for stream in SideStream.allCases {
      guard let column = columns[stream] else { continue }
      if column.count != count { return "\(stream.rawValue) has \(column.count) numbers for \(count) steps" }
      if let step = column.firstIndex(where: { !stream.isPossible($0, vocabularySize: vocabularySize) }) {
        return "\(stream.rawValue)[\(step)] is \(column[step]), which no step over \(vocabularySize) tokens has"
      }
    }
    return nil
  }
}
