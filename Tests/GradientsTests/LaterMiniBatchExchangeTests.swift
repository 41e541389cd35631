import Coordination
import Testing
import Training

@testable import Gradients

/// When the weights of later mini-batches are worth publishing, and who is lent leaves under them.
extension GradientExchangeTests {
  /// Four mini-batches of 32 s alone, and four workers: a first one of 6.4 s, and three of (32 + 4 * 0.5) / 5 = 6.8 s when the weights
  /// cost nothing to publish and are there after half a second.
  @Test func laterMiniBatchesAreSharedToo() throws {
    var simulation = GradientSimulation()
    var workers: [WorkerID: Double] = [:]
    for index in 0..<4 {
      simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil)
      workers[WorkerID(UInt64(index))] = 100
      simulation.following[WorkerID(UInt64(index))] = 0.5
    }
    let alone = Double(offer(32).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    for number in 0..<3 {
      let seconds = try simulation.step(
        [offer(32), offer(32), offer(32), offer(32)], publishing: 0.1, learner: 100, workers: workers,
        bytesPerSecond: 1e8)
      let ideal = alone / 5 + 3 * (0.1 + (alone + 4 * 0.5) / 5)
      if number > 0 { #expect(seconds < 1.2 * ideal, "\(seconds) s, ideal \(ideal) s") }
      // With the first mini-batch alone it would be more than twice that.
      #expect(seconds < 0.5 * (alone / 5 + 3 * alone), "\(seconds) s")
    }
  }

  /// Where the weights would come late or cost much, nobody is asked for them and the learner loses nothing.
  @Test(arguments: [(4, 100.0, 0.1), (4, 0.001, 5.0), (1, 0.5, 0.5)])
  func whatComesLateIsLeftAlone(_ leafCount: Int, _ following: Double, _ publishing: Double) throws {
    var simulation = GradientSimulation()
    let worker = WorkerID(0)
    simulation.exchange.join(worker, hello: hello(0), older: nil)
    simulation.following[worker] = following
    let alone = Double(offer(leafCount).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    // Measured in the first: a worker that comes late at all is not asked again.
    _ = try simulation.step(
      [offer(8), offer(leafCount)], publishing: publishing, learner: 100, workers: [worker: 100], bytesPerSecond: 1e8)
    simulation.told = 0
    for _ in 0..<3 {
      let first = try simulation.step(
        [offer(8)], publishing: 0, learner: 100, workers: [worker: 100], bytesPerSecond: 1e8)
      let seconds = try simulation.step(
        [offer(8), offer(leafCount)], publishing: publishing, learner: 100, workers: [worker: 100],
        bytesPerSecond: 1e8)
      #expect(abs(seconds - first - alone) < 0.1, "\(seconds) s, \(first) + \(alone) s")
      #expect(simulation.told == 0)
    }
  }

  /// Of two workers one never comes to the weights: the other is lent its share, the step is done, and the next ones count on it
  /// less.
  @Test func aLaggardIsNotWaitedFor() throws {
    var simulation = GradientSimulation()
    for index in 0..<2 { simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    simulation.following[WorkerID(1)] = 0.2
    let alone = Double(offer(32).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    let workers: [WorkerID: Double] = [WorkerID(0): 100, WorkerID(1): 100]
    for number in 0..<3 {
      simulation.leavesOf = [:]
      let seconds = try simulation.step(
        [offer(32), offer(32)], publishing: 0.1, learner: 100, workers: workers, bytesPerSecond: 1e8)
      #expect(seconds < (number == 0 ? 1.3 : 0.95) * alone, "\(seconds) s, alone \(2 * alone) s")
    }
  }
}
