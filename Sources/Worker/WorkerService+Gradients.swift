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
    hasComputedGradients = true
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

  var hasUnpreparedWeights: Bool { gradientWeights.map { $0.version != gradientModel?.version } ?? false }

  /// Makes weights between two optimiser steps ready to compute with, and says so: the learner counts on it from then on.
  func prepareGradientWeights() {
    guard hasUnpreparedWeights, let gradientWeights else { return }
    do {
      let needed = gradientModel?.model.rotary.positions ?? 0
      // Its memory first: there may be none for two of them.
      gradientModel = nil
      guard try trainableModel(version: gradientWeights.version, positions: needed) != nil else {
        return dropGradientWeights()
      }
      link.report(gradientVersion: gradientWeights.version)
    } catch {
      logger.warning("no gradients are computed here until the next optimiser step: \(error)")
      dropGradientWeights()
    }
  }

  func dropGradientWeights() {
    guard let version = gradientWeights?.version else { return }
    gradientWeights = nil
    if gradientModel?.version == version { gradientModel = nil }
    link.report(gradientVersion: nil)
  }

  func trainableModel(version: Int, positions needed: Int) throws -> GradientWorker.Model? {
    if let made = gradientModel, made.version == version, made.model.rotary.positions >= needed { return made }
    let held = VersionDescription.isIntermediate(version) ? gradientWeights : newest
    guard let held, held.version == version, let configuration, let backend else { return nil }
    let layout = ParameterLayout(configuration)
    let adapters = held.description.adapter == nil ? nil : try AdapterWeights(held, model: layout)
    if let engine, engineVersion == version, engine.model.isTrainable, engine.model.rotary.positions >= needed {
      gradientModel = GradientWorker.Model(version: version, model: engine.model, adapters: adapters)
    } else {
      gradientModel = GradientWorker.Model(
        version: version,
        model: PreparedModel(
          try weights(of: held, layout: layout), backend: backend, trainable: true,
          positions: max(needed, positions), team: team, sharing: engine?.model,
          keepsHead: adapters != nil && headOwner === base), adapters: adapters)
    }
    return gradientModel
  }

  /// The model that a lease's KL term is measured from; nil when there is no such term, or that model is not here.
  func preparedReference(
    for grant: GradientGrant
  ) throws(ClusterError) -> (model: PreparedModel, root: [UInt8])? {
    guard let wanted = grant.loss.divergence?.referenceRoot, let reference, let configuration, let backend,
      reference.description.root.bytes == wanted
    else { return nil }
    if let referenceModel, referenceModel.rotary.positions >= grant.longestSequence { return (referenceModel, wanted) }
    let layout = ParameterLayout(configuration)
    guard reference.byteCount == layout.count * 2 else {
      throw ClusterError("the reference model has \(reference.byteCount) bytes, this one \(layout.count * 2)")
    }
    referenceModel = nil
    if let available = availableMemory, available < reference.byteCount / 4 * 5 {
      throw ClusterError(
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
    referenceModel = made
    return (made, wanted)
  }
}
