import Credit
import Objectives
import Parameters
import Testing
import Wire

/// Leases of objectives of every scope: the gradient has the same bits whoever computes which part of it, and nobody differentiates
/// another loss than the learner's.
@Suite(.serialized) struct ObjectiveLeaseTests {
  private let bench = GradientLeaseTests()

  /// `sapo` needs the step, `gspo` the trajectory, `reg_grpo` the group, `kl_cov` and `clip_cov` the optimiser step: their log-probs come
  /// by scoring leases, as the samples' worker has another fingerprint.
  @Test(arguments: ["sapo", "gspo", "reg_grpo", "kl_cov", "clip_cov"])
  func sameBitsWhoeverComputes(_ objective: String) throws {
    let settings = GradientLeaseTests.Settings(objective: objective)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    #expect(alone.norm > 0 && alone.sums.slotCount > 400)
    for count in [0, 1, 2] {
      let (result, totals, helpers) = try bench.helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(count) workers")
      #expect((totals.acceptedLeaves > 0) == (count > 0), "\(count) workers: \(totals)")
      if loss(objective) == .batch && count > 0 {
        // Scores and gradients are leases of their own.
        #expect(helpers.reduce(0) { $0 + $1.computed } > 1)
      }
    }
  }

  private static let parameters: [String: [String: ParameterValue]] = ["dhpo": ["dhpo_mix": .text("entropy")]]

  /// What the sampler recorded beside the log-probs travels with a leased trajectory: objectives of every scope that read it.
  @Test(arguments: ["dcpo", "dhpo", "sspo", "probability_mask"])
  func sideStreamsTravelWithTheLease(_ method: String) throws {
    // Later mini-batches: ratios differ from 1, so that what the streams decide is felt.
    let settings = GradientLeaseTests.Settings(
      miniBatch: 16, learningRate: 1e-4, objective: method,
      parameters: Self.parameters[method] ?? [:])
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    #expect(alone.norm > 0)
    let (result, totals, _) = try bench.helped(settings, [.helpful])
    #expect(result == alone && totals.acceptedLeaves > 0, "\(totals)")
  }

  private func loss(_ name: String) -> ObjectiveScope? { (try? Loss(name))?.scope }

  /// Later mini-batches see other weights, which scores and gradients share.
  @Test(arguments: ["gspo", "kl_cov"])
  func laterMiniBatches(_ objective: String) throws {
    let settings = GradientLeaseTests.Settings(
      delay: 100, miniBatch: 12, learningRate: 1e-4, objective: objective)
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, totals, _) = try bench.helped(settings, [.helpful, .helpful])
    #expect(result == alone && totals.acceptedLeaves > 0, "\(totals)")
  }

  /// A worker that is killed with a scoring or a gradient lease leaves it to others.
  @Test func aWorkerIsKilledInTheMiddle() throws {
    let settings = GradientLeaseTests.Settings(objective: "kl_cov")
    let alone = try bench.update(settings, state: bench.state(settings), frontEnd: nil)
    let (result, _, helpers) = try bench.helped(settings, [.holding, .helpful]) { helpers, _ in
      #expect(eventually { helpers[0].received > 0 })
      helpers[0].kill()
    }
    #expect(result == alone && helpers[0].computed == 0)
  }

  @Test func anotherBuildsObjectiveIsNotDifferentiated() throws {
    let loss = try Loss("sapo", ["tau_pos": .number(2)])
    let wire = try #require(GradientLoss(loss, isBlind: false, reference: nil))
    #expect(try wire.loss().description == loss.description)
    func says(_ text: String, _ change: (inout GradientLoss) -> Void) -> Bool {
      var changed = wire
      change(&changed)
      do {
        _ = try changed.loss()
        return false
      } catch {
        return "\(error)".contains(text)
      }
    }
    let misnamed = says("did you mean 'sapo'?") { $0.objective?.name = "sapoo" }
    let longer = says("use the same one") { $0.objective?.values["speed"] = .number(1) }
    let shorter = says("came without its parameter tau_neg") { $0.objective?.values["tau_neg"] = nil }
    // The name and the values fit, and yet the learner's build means something else by them.
    let other = says("same softgrpo version everywhere") { $0.objective?.values["tau_pos"] = .number(3) }
    let divergent = says("KL estimator k9") {
      $0.divergence = GradientLoss.Divergence(coefficient: 1, estimator: "k9", referenceRoot: [])
    }
    #expect(misnamed && longer && shorter && other && divergent)
  }
}
