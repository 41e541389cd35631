import Wire

// Samples that a relay gives back, as far as the I/O thread is concerned.
extension WorkerLoop {
  /// Says what was given back; without a session, in the next one with the same learner.
  func giveBack() throws {
    for given in shared.returns.takeAll() {
      let (unfinished, _) = work.cancel(given.leaseID, samples: given.sampleIndices)
      guard !unfinished.isEmpty else { continue }
      promised -= unfinished.count
      returned.append(ReturnedWork(leaseID: given.leaseID, sampleIndices: unfinished, isLoss: given.isLoss))
    }
    guard session != nil else { return }
    for work in returned { try send([.returnWork(work)]) }
    returned = []
  }

  /// Work of another build: a part of the method is not here, or is another one. It goes back, and this end leaves with an
  /// error; to wait would only be granted more of it.
  func leave(_ leases: [Lease], _ refusal: String) throws {
    logger.critical("\(refusal)")
    shared.state.withLock { $0.failure = refusal }
    for lease in leases {
      try send([.returnWork(ReturnedWork(leaseID: lease.id, sampleIndices: lease.sampleIndices))])
    }
    try send([.goodbye(reason: refusal)])
    hasEnded = true
  }
}
