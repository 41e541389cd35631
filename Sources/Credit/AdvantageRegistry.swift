import Parameters

/// The advantage estimators of this build: adding one is a line here.
public let advantageEstimators = PartRegistry<any AdvantageEstimator>(
  "advantage",
  ([
    GRPO.self,
    DrGRPO.self,
    RLOO.self,
    GPGAdvantage.self,
    NGRPO.self,
    OPO.self,
    PassAtKAdvantage.self,
    PSRNSR.self,
    MaxRL.self,
    ReinforcePP.self,
    ReinforcePPBaseline.self,
    MultiReward.self,
    GTPO.self,
    SeedGRPO.self,
    XRPONovelty.self,
    SmoothStandardisation.self,
    ValueTracker.self,
  ] as [any AdvantageEstimator.Type]).map { type in
    .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
  })
