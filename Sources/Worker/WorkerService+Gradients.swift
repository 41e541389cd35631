import Foundation
import Gradients
import Kernels
import Logging
import Machine
import ModelFiles
import Sessions
import Transformer
import Transport
import WeightSync
import Wire

// Gradient leases, between steps of sampling.
extension WorkerService {
  /// Computes a leaf of the gradient that was asked for first.
  func computeGradients() throws {
    guard let next = gradients.next else { return }
    differentiated.wasAsked = true
    let outcome: GradientOutcome?
    if var model = try trainableModel(version: next.policyVersion, positions: next.longestSequence) {
      do {
        model.reference = try preparedReference(for: next)
        outcome = gradients.step(model)
      } catch {
        outcome = gradients.decline(error.message)
      }
    } else {
      outcome = gradients.decline("version \(next.policyVersion) is not here any longer")
    }
    if let outcome {
      if case .declined(let id, let reason, _) = outcome {
        logger.warning("gradient lease \(id) is not computed here: \(reason)")
      }
      try link.send(outcome)
    }
  }

  var hasUnpreparedWeights: Bool { differentiated.weights.map { $0.version != differentiated.model?.version } ?? false }

  /// Makes weights between two optimiser steps ready to compute with, and says so: the learner counts on it from then on.
  func prepareGradientWeights() {
    guard hasUnpreparedWeights, let weights = differentiated.weights else { return }
    do {
      let needed = differentiated.model?.model.rotary.positions ?? 0
      // Its memory first: there may be none for two of them.
      differentiated.model = nil
      guard try trainableModel(version: weights.version, positions: needed) != nil else {
        return dropGradientWeights()
      }
      link.report(gradientVersion: weights.version)
    } catch {
      logger.warning("no gradients are computed here until the next optimiser step: \(error)")
      dropGradientWeights()
    }
  }

  func dropGradientWeights() {
    guard let version = differentiated.weights?.version else { return }
    differentiated.weights = nil
    if differentiated.model?.version == version { differentiated.model = nil }
    link.report(gradientVersion: nil)
  }

  func trainableModel(version: Int, positions needed: Int) throws -> GradientWorker.Model? {
    if let made = differentiated.model, made.version == version, made.model.rotary.positions >= needed { return made }
    let held = VersionDescription.isIntermediate(version) ? differentiated.weights : newest
    guard let held, held.version == version, let configuration, let backend else { return nil }
    let layout = ParameterLayout(configuration)
    let adapters = held.description.adapter == nil ? nil : try AdapterWeights(held, model: layout)
    if let engine, engineVersion == version, engine.model.isTrainable, engine.model.rotary.positions >= needed {
      differentiated.model = GradientWorker.Model(version: version, model: engine.model, adapters: adapters)
    } else {
      differentiated.model = GradientWorker.Model(
        version: version,
        model: PreparedModel(
          try weights(of: held, layout: layout), backend: backend, trainable: true,
          positions: max(needed, positions), team: team, sharing: engine?.model,
          keepsHead: adapters != nil && headOwner === base), adapters: adapters)
    }
    return differentiated.model
  }

  /// The model that a lease's KL term is measured from; nil when there is no such term, or that model is not here.
  func preparedReference(
    for grant: GradientGrant
  ) throws(RoleError) -> (model: PreparedModel, root: [UInt8])? {
    guard let wanted = grant.loss.divergence?.referenceRoot, let reference = differentiated.reference,
      let configuration, let backend,
      reference.description.root.bytes == wanted
    else { return nil }
    if let made = differentiated.referenceModel, made.rotary.positions >= grant.longestSequence {
      return (made, wanted)
    }
    let layout = ParameterLayout(configuration)
    guard reference.byteCount == layout.count * 2 else {
      throw RoleError("the reference model has \(reference.byteCount) bytes, this one \(layout.count * 2)")
    }
    differentiated.referenceModel = nil
    if let available = availableMemory, available < reference.byteCount / 4 * 5 {
      throw RoleError(
        "the KL term's reference model takes \(reference.byteCount >> 20) MiB more, and \(available >> 20) MiB are free"
      )
    }
    let weights = reference.withWeights {
      ModelWeights(layout: layout, borrowing: $0.baseAddress!, from: reference)
    }
    let sharesHead = headOwner != nil && headOwner === base && base?.description.root == reference.description.root
    let made = PreparedModel(
      weights, backend: backend, trainable: false, positions: max(grant.longestSequence, positions), team: team,
      sharing: engine?.model, keepsHead: sharesHead)
    differentiated.referenceModel = made
    return (made, wanted)
  }
}
