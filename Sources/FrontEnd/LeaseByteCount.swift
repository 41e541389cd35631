import Trajectories
import Wire

extension CompletionPlan {
  /// An upper bound of its bytes on the wire.
  fileprivate var largestByteCount: Int {
    stages.reduce(0) { total, stage in
      let numbers =
        switch stage {
        case .think(_, let ends, let forcedEnd): ends.count + forcedEnd.count
        case .force(let tokenIDs), .replay(.tokens(let tokenIDs)): tokenIDs.count
        case .answer(_, _, let stops): stops.count
        case .replay(.soft(let soft)): 2 * soft.count + soft.tokenIDs.elements.count + soft.values.elements.count
        }
      return total + 64 + 5 * numbers
    }
  }
}

extension Lease {
  /// An upper bound of its bytes on the wire: a variable-length integer has at most 5.
  var largestByteCount: Int {
    256 + promptID.utf8.count + 5 * (prompt.count + sampleIndices.count) + plan.largestByteCount
  }
}
