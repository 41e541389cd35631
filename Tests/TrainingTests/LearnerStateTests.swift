import Foundation
import Kernels
import ModelFiles
import Objectives
import Optimization
import Testing
import TestSupport
import Transformer

@testable import Training

struct LearnerStateTests {
  private let layout = ParameterLayout(TinyModel.configuration(.qwen3))
  private let team = ThreadTeam(threadCount: 2)
  private let options = UpdateOptions(
    optimizer: AdamW(learningRate: 1e-2, weightDecay: 0.1), maxGradientNorm: 1)

  private func state() -> LearnerState {
    LearnerState(layout: layout, values: randomValues(layout.count, seed: 1))
  }

  private func setGradient(_ state: LearnerState, _ seed: UInt64, scale: Float = 0.1) {
    let values = randomValues(layout.count, seed: seed, scale: scale)
    state.gradient.base.update(from: values, count: values.count)
  }

  private func copy(_ values: borrowing AlignedBuffer<Float>) -> [Float] {
    (0..<values.count).map { values.base[$0] }
  }

  /// torch.optim.AdamW after clip_grad_norm_, written in Double.
  @Test func applyIsClippedAdamW() throws {
    let state = state()
    var p = doubles(copy(state.master))
    var (m, v) = ([Double](repeating: 0, count: p.count), [Double](repeating: 0, count: p.count))
    for step in 1...4 {
      // The last gradient is within the norm and not scaled.
      setGradient(state, UInt64(step), scale: step == 4 ? 1e-3 : 0.1)
      let g = doubles(copy(state.gradient))
      let (weights, norm) = try state.apply(options, team: team)
      let total = innerProduct(g, g).squareRoot()
      #expect(abs(norm.total - total) < 1e-6 * total && (total > 1) == (step < 4))
      #expect(state.step == step)
      let scale = min(1, 1 / (total + 1e-6))
      for index in p.indices {
        let gradient = g[index] * scale
        p[index] *= 1 - 1e-2 * 0.1
        m[index] = 0.9 * m[index] + 0.1 * gradient
        v[index] = 0.999 * v[index] + 0.001 * gradient * gradient
        p[index] -=
          1e-2 * (m[index] / (1 - pow(0.9, Double(step))))
          / ((v[index] / (1 - pow(0.999, Double(step)))).squareRoot() + 1e-8)
      }
      #expect(relativeDifference(copy(state.master), p) < 1e-5)
      #expect((0..<p.count).allSatisfy { weights.elements[$0] == BFloat16(state.master.base[$0]) })
    }
    let rounded = state.roundedWeights(team: team)
    #expect((0..<p.count).allSatisfy { rounded.elements[$0] == BFloat16(state.master.base[$0]) })
  }

  @Test func bitsDoNotDependOnThreads() throws {
    let results = try [1, 2, 3].map { threads -> [Float] in
      let (state, team) = (state(), ThreadTeam(threadCount: threads))
      setGradient(state, 3)
      let norm = try state.apply(options, team: team).norm
      return copy(state.master) + norm.byParameter.map(Float.init)
    }
    #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func aNonFiniteGradientChangesNothing(_ value: Float) throws {
    let state = state()
    setGradient(state, 2)
    _ = try state.apply(options, team: team)
    let parameter = layout.parameters[7]
    state.gradient.base[parameter.offset + 3] = value
    let before = copy(state.master) + copy(state.firstMoment) + copy(state.secondMoment)
    let error = #expect(throws: OptimizationError.self) { try state.apply(options, team: team) }
    #expect(error?.message.contains(parameter.name) == true)
    #expect(sameBits(copy(state.master) + copy(state.firstMoment) + copy(state.secondMoment), before))
    #expect(state.step == 1)
    state.zeroGradient(team: team)
    #expect(copy(state.gradient).allSatisfy { $0 == 0 })
    #expect(try state.gradientNorm(team: team).total == 0)
  }

  /// A run resumed from its master weights, moments and step goes on with the same bits, schedule included.
  @Test func resumedRunsGoOnAlike() throws {
    var options = options
    options.schedule = LearningRateSchedule(shape: .cosine, warmupSteps: 2, totalSteps: 10)
    let straight = state()
    for step in 1...3 {
      setGradient(straight, UInt64(step))
      _ = try straight.apply(options, team: team)
    }
    let resumed = LearnerState(layout: layout, values: copy(straight.master))
    resumed.firstMoment.base.update(from: straight.firstMoment.base, count: layout.count)
    resumed.secondMoment.base.update(from: straight.secondMoment.base, count: layout.count)
    resumed.resume(atStep: 3)
    let forgetful = LearnerState(layout: layout, values: copy(straight.master))
    for state in [straight, resumed, forgetful] {
      setGradient(state, 4)
      _ = try state.apply(options, team: team)
    }
    #expect(resumed.step == 4 && sameBits(copy(resumed.master), copy(straight.master)))
    #expect(!sameBits(copy(forgetful.master), copy(straight.master)))
  }
}
