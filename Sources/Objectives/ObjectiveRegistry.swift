import Parameters

/// The objectives of this build: adding one is a line here.
public let objectives = PartRegistry<any Objective>(
  "objective",
  ([
    Clipped.self,
    CISPO.self,
    GSPOToken.self,
    GMPO.self,
    SpanRatio.self,
    SSPO.self,
    DHPO.self,
    DCPO.self,
    DPPO.self,
    ClipCov.self,
    RegGRPO.self,
    PolicyGradientLoss.self,
    ProbabilityMask.self,
    SAPO.self,
    GSPO.self,
    KLCov.self,
  ] as [any Objective.Type]).map { type in
    .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
  })
