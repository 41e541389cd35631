import Objectives

/// What tests ask of a loss's sums.
extension NamedSums {
  public var policyLoss: Double { self[LossSum.policyLoss] ?? 0 }
  public var klLoss: Double { self[LossSum.referenceKL] ?? 0 }
  public var policyKL: Double { self[LossSum.policyKL] ?? 0 }
  public var ratioMaximum: Double { self[LossSum.ratioMaximum] ?? 0 }
  public var slotCount: Int { count(LossSum.policyKL) }
  public var clippedCount: Int { sum("actor/pg_clipfrac") }
  public var dualClippedCount: Int { sum("actor/pg_clipfrac_lower") }
  public var importanceCount: Int { count(LossSum.importanceMean) }
  public var importanceMean: Double? { self[LossSum.importanceMean] }
  public var importanceClipFraction: Double? { self[LossSum.importanceClipped] }
  public var behaviourCount: Int { count(LossSum.behaviourMean) }
  public var behaviourMean: Double? { self[LossSum.behaviourMean] }
  public var behaviourClippedCount: Int { sum(LossSum.behaviourClipped) }
  public var behaviourClipFraction: Double? { self[LossSum.behaviourClipped] }

  private func sum(_ name: String) -> Int { Int(entries[name]?.sum ?? 0) }
}
