import Kernels
import Thinking
import Trajectories
import Transformer

/// Runs a recorded trajectory through the model: what the record says was fed goes in, a few passes for all positions, and the rows of logits
/// from which its steps were drawn come out.
///
/// One thread at a time may use it.
final class RecordedPasses {
  /// What is fed at one position, by the record.
  enum Feed {
    case token(Int32)
    case soft(SoftSegment, step: Int)
  }

  /// The logits of which the step at a position after the prompt was drawn, and what they were computed from.
  struct DrawnRow {
    var position: Int
    var logits: UnsafeBufferPointer<Float>
    var hidden: Operand
    var model: PreparedModel
    var embeddingScale: Float
  }

  private static let passRows = 256
  private static let logitRows = 32

  private let team: ThreadTeam
  private let workspace: ForwardWorkspace
  private let hidden_TC: OperandBuffer
  private let logits_TV: AlignedBuffer<Float>
  private let locations: AlignedBuffer<RowLocation>
  private let writes: AlignedBuffer<CacheWrite>
  private var pages: KeyValuePages?
  private var pageCount = 0

  /// - Parameter model: any of the models that will be used: all have one shape and one compute type.
  init(_ model: PreparedModel, team: ThreadTeam) {
    self.team = team
    let c = model.configuration
    workspace = ForwardWorkspace(c, maximumRows: Self.passRows, computeType: model.computeType)
    hidden_TC = OperandBuffer(count: Self.passRows * c.hiddenSize, computeType: model.computeType)
    logits_TV = AlignedBuffer(count: Self.logitRows * c.vocabularySize)
    locations = AlignedBuffer(count: Self.passRows)
    writes = AlignedBuffer(count: Self.passRows)
  }

  /// Pages of a sequence of so many positions, from position 0.
  static func pageCount(positions: Int) -> Int { PageGeometry.pageCount(positions: positions) }

  /// What a trajectory feeds, by position after the prompt, and which of it was drawn.
  static func feeds(of trajectory: Trajectory) -> (feeds: [Feed], isDrawn: [Bool]) {
    var feeds: [Feed] = []
    var isDrawn: [Bool] = []
    for segment in trajectory.segments {
      switch segment {
      case .soft(let soft), .replayed(.soft(let soft)):
        for step in 0..<soft.count { feeds.append(.soft(soft, step: step)) }
      case .discrete(let discrete): feeds += discrete.tokenIDs.map { .token($0) }
      case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): feeds += tokenIDs.map { .token($0) }
      }
      isDrawn += Array(repeating: segment.isScored, count: feeds.count - isDrawn.count)
    }
    return (feeds, isDrawn)
  }

  /// The version that computes each position of prompt and completion: that of the step which is drawn next. Weights are swapped
  /// between two steps, so what was forced in between is fed by the newer ones.
  static func versions(of trajectory: Trajectory, isDrawn: [Bool]) -> [Int] {
    func drawing(_ position: Int) -> Int {
      trajectory.versionSpans.last { $0.start <= position }?.version ?? trajectory.policyVersion
    }
    var result = Array(repeating: trajectory.policyVersion, count: isDrawn.count)
    var next = isDrawn.indices.last.map(drawing) ?? trajectory.policyVersion
    let first = isDrawn.firstIndex(of: true) ?? isDrawn.count
    for position in isDrawn.indices.reversed() where position >= first {
      result[position] = next
      if isDrawn[position] { next = drawing(position) }
    }
    return Array(repeating: trajectory.policyVersion, count: trajectory.prompt.count) + result
  }

  /// Calls `body` with the row of each wanted position, in order, until it says false.
  ///
  /// - Parameters:
  ///   - feeds: of `recorded`, as `feeds(of:)` gives them.
  ///   - pages: of the sequence.
  ///   - isWanted: whether the step at a position was drawn. Asked in order, when the rows before it were looked at.
  /// - Returns: whether all weights are here.
  /// - Throws: what `body` throws.
  func run(
    _ recorded: Trajectory, feeds: [Feed], isDrawn: [Bool], model: (_ version: Int) -> PreparedModel?,
    isWanted: (_ position: Int) -> Bool, body: (DrawnRow) throws -> Bool
  ) throws -> Bool {
    guard let first = model(recorded.policyVersion) else { return false }
    let promptCount = recorded.prompt.count
    let count = promptCount + feeds.count
    let pages = room(Self.pageCount(positions: count), first)
    let table = AlignedBuffer<Int32>(count: Self.pageCount(positions: count))
    for page in 0..<table.count { table.base[page] = Int32(page) }
    let versions = Self.versions(of: recorded, isDrawn: isDrawn)
    let width = first.configuration.hiddenSize

    var start = 0
    // The last input's successor is not drawn any longer.
    while start < count - 1 {
      let version = versions[start]
      guard let weights = model(version) else { return false }
      let embeddingScale = recorded.policy.vectorSteps == nil ? .nan : weights.embeddingTable.rootMeanSquare()
      var rows = 0
      while rows < Self.passRows, start + rows < count - 1, versions[start + rows] == version {
        let position = start + rows
        place(rows, position: position, table: UnsafePointer(table.base))
        let x = workspace.x_TC.base + rows * width
        if position < promptCount {
          weights.embed(token: recorded.prompt[position], into: x)
        } else {
          embed(feeds[position - promptCount], recorded.policy, weights, into: x)
        }
        rows += 1
      }
      weights.forward(
        workspace, rows: UnsafeBufferPointer(start: locations.base, count: rows),
        writes: UnsafeBufferPointer(start: writes.base, count: rows), pages: pages, tape: nil, isDecodeStep: false,
        team: team, stages: nil)
      // Rows whose successor was drawn.
      var row = max(0, promptCount - 1 - start)
      while row < rows {
        let some = min(Self.logitRows, rows - row)
        let hidden = hidden_TC.operand
        weights.finalNorm(workspace.x_TC.base + row * width, rows: some, into: hidden, team: team)
        weights.logits(hidden, rows: some, into: logits_TV.base, team: team)
        for offset in 0..<some {
          let next = start + row + offset + 1 - promptCount
          guard isWanted(next) else { continue }
          let drawn = DrawnRow(
            position: next,
            logits: UnsafeBufferPointer(
              start: logits_TV.base + offset * weights.configuration.vocabularySize,
              count: weights.configuration.vocabularySize),
            hidden: hidden.advanced(by: offset * width), model: weights, embeddingScale: embeddingScale)
          if try !body(drawn) { return true }
        }
        row += some
      }
      start += rows
    }
    return true
  }

  private func room(_ needed: Int, _ model: PreparedModel) -> KeyValuePages {
    if let pages, pageCount >= needed { return pages }
    let made = KeyValuePages(
      geometry: model.geometry, layers: model.configuration.layerCount, pages: needed, computeType: model.computeType)
    (pages, pageCount) = (made, needed)
    return made
  }

  private func place(_ row: Int, position: Int, table: UnsafePointer<Int32>) {
    locations.base[row] = RowLocation(position: Int32(position), pages: table)
    writes.base[row] = CacheWrite(
      row: row, page: table[position / PageGeometry.blockLength], slot: position % PageGeometry.blockLength)
  }

  private func embed(
    _ feed: Feed, _ policy: ThinkingPolicy, _ model: PreparedModel, into x: UnsafeMutablePointer<Float>
  ) {
    switch feed {
    case .token(let token): model.embed(token: token, into: x)
    case .soft(let segment, let step):
      segment.withRecord(step) { policy.feed($0, embeddings: model.embeddingTable, into: x) }
    }
  }
}
