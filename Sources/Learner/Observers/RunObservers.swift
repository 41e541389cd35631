/// Everybody who follows a run: those who were added, and, while it is under way, its own files and progress line.
public final class RunObservers {
  private var added: [any RunObserver] = []
  private var own: [any RunObserver] = []

  public func append(_ observer: any RunObserver) { added.append(observer) }

  /// The run is under way, followed by its own observers too.
  func begin(_ own: [any RunObserver]) { self.own = own }

  /// The run's own observers are let go, and with them the files that they hold.
  func end() { own = [] }

  /// Tells everybody; the run's own come first.
  func tell(_ event: (any RunObserver) throws -> Void) rethrows {
    for observer in own + added { try event(observer) }
  }

  /// Why an observer wants the run to end; nil: none does.
  var stop: RunStop? { (own + added).lazy.compactMap(\.stop).first }
}
