import ModelFiles
import Wire

extension ModelDescription {
  /// What a worker must know to allocate the model.
  package init(_ c: ModelConfiguration) {
    let scaling: RopeScaling? =
      switch c.ropeScaling {
      case .none: nil
      case .linear(let factor): RopeScaling(kind: "linear", factor: factor)
      case .llama3(let factor, let low, let high, let original):
        RopeScaling(
          kind: "llama3", factor: factor, lowFrequencyFactor: low, highFrequencyFactor: high,
          originalContextLength: original)
      }
    self.init(
      architecture: c.architecture.rawValue, vocabularySize: c.vocabularySize, hiddenSize: c.hiddenSize,
      intermediateSize: c.intermediateSize, layerCount: c.layerCount, headCount: c.headCount,
      keyValueHeadCount: c.keyValueHeadCount, headDimension: c.headDimension, contextLength: c.contextLength,
      rmsNormEpsilon: c.rmsNormEpsilon, ropeTheta: c.ropeTheta, ropeScaling: scaling,
      tiedEmbeddings: c.tiedEmbeddings, attentionBias: c.attentionBias, queryKeyNorm: c.queryKeyNorm)
  }
}

extension ModelConfiguration {
  /// The model that a learner describes.
  ///
  /// - Throws: `LoadingError` for a family this build does not know, `ModelFileError` for impossible sizes.
  package init(_ description: ModelDescription) throws {
    guard let architecture = Architecture(rawValue: description.architecture) else {
      throw LoadingError(
        "the learner trains a '\(description.architecture)' model, which this worker does not know: run the learner's version"
      )
    }
    let scaling: RopeScaling
    switch description.ropeScaling {
    case nil: scaling = .none
    case let rope? where rope.kind == "linear": scaling = .linear(factor: rope.factor)
    case let rope? where rope.kind == "llama3":
      scaling = .llama3(
        factor: rope.factor, lowFrequencyFactor: rope.lowFrequencyFactor, highFrequencyFactor: rope.highFrequencyFactor,
        originalContextLength: rope.originalContextLength)
    case let rope?:
      throw LoadingError("the learner uses rope scaling '\(rope.kind)', which this worker does not know")
    }
    self.init(
      architecture: architecture, hiddenSize: description.hiddenSize, layerCount: description.layerCount,
      headCount: description.headCount, keyValueHeadCount: description.keyValueHeadCount,
      headDimension: description.headDimension, intermediateSize: description.intermediateSize,
      vocabularySize: description.vocabularySize, contextLength: description.contextLength,
      ropeTheta: description.ropeTheta, ropeScaling: scaling, rmsNormEpsilon: description.rmsNormEpsilon,
      tiedEmbeddings: description.tiedEmbeddings)
    try validate(path: "the learner's model description")
  }
}
