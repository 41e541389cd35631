import Wire

// Samples that a relay gives back, or a worker whose build does not know their plan, as far as the I/O thread is concerned.
extension WorkerLoop {
  /// Says what was given back; without a session, in the next one with the same learner.
  func giveBack() throws {
    for given in shared.returns.takeAll() {
      let (unfinished, _) = work.cancel(given.leaseID, samples: given.sampleIndices)
      guard !unfinished.isEmpty else { continue }
      promised -= unfinished.count
      returned.append(
        ReturnedWork(
          leaseID: given.leaseID, sampleIndices: unfinished, isLoss: given.isLoss,
          reason: given.reason))
    }
    guard session != nil else { return }
    for work in returned { try send([.returnWork(work)]) }
    returned = []
  }
}
