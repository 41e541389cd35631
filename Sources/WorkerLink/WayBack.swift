import Transport

/// A worker's way back to the place that its user named first: a learner's link should not stay as full as a relay's death has
/// made it.
struct WayBack {
  /// A second connection, to see whether somebody is there and takes the keys. It says nothing.
  final class Probe {
    let socket: Socket
    init(_ socket: consuming Socket) { self.socket = socket }
  }

  /// When to look next.
  var next: Duration?
  var probe: Probe?
  /// Nothing new is taken where the worker is; it goes when what it has is delivered.
  var isReturning = false
  var hasSaidGoodbye = false
}
