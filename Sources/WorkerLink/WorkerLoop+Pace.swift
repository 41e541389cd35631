import Wire

// A link that is too narrow for the versions, as far as the I/O thread is concerned.
extension WorkerLoop {
  /// Says once that versions come faster than this link can follow, and once that it follows them again. In between no work is
  /// taken: it would wait for weights, and its samples for somebody else.
  func notePace() throws {
    guard let figures = weights.pace.narrowness else {
      guard saysNarrow else { return }
      saysNarrow = false
      logger.notice("this link keeps up with the versions again")
      try sendHeartbeat()
      return try spendCredits()
    }
    guard !saysNarrow else { return }
    saysNarrow = true
    logger.warning(
      "versions come faster than this link carries them: \(figures); samples may be \(weights.pace.maxStaleness) versions old (max_staleness). No work is taken here; the link is tried again after \(figures.wait.rounded) s, then more and more rarely, and at once when steps have become slow enough. A relay nearby, a wider link, a smaller learning rate (deltas), LoRA or a greater max_staleness would help"
    )
    try giveBackWaiting()
    try sendHeartbeat()
  }

  /// Work that is not begun, while the link is too narrow for the versions that it needs.
  func giveBackWaiting() throws {
    guard weights.pace.narrowness != nil else { return }
    for given in work.takeWaiting() {
      promised -= given.sampleIndices.count
      returned.append(given)
    }
    try giveBack()
  }
}
