import JSON
import Parameters
import Thinking

/// The text of a trajectory's line while it is written.
struct TrajectoryLine {
  var text = ""

  mutating func string(_ value: String) { text.appendJSON(value) }

  mutating func integers(_ values: ArraySlice<Int32>) {
    text += "["
    for (i, value) in values.enumerated() {
      if i > 0 { text += ", " }
      text += String(value)
    }
    text += "]"
  }

  mutating func float(_ value: Float, _ path: @autoclosure () -> String) throws {
    guard value.isFinite else { throw ThinkingError("\(value) in \(path()); only finite numbers can be written") }
    text += value.description
  }

  mutating func floats(_ values: ArraySlice<Float>, _ path: @autoclosure () -> String) throws {
    text += "["
    for (i, value) in values.enumerated() {
      if i > 0 { text += ", " }
      try float(value, path())
    }
    text += "]"
  }

  mutating func segment(_ segment: Segment, slotCount: Int, _ path: String) throws {
    switch segment {
    case .forced(let tokenIDs):
      text += "{\"kind\": \"forced\", \"token_ids\": "
      integers(tokenIDs[...])
    case .discrete(let discrete):
      text += "{\"kind\": \"discrete\", \"token_ids\": "
      integers(discrete.tokenIDs[...])
      try logProbs(discrete.logProbs, count: discrete.tokenIDs.count, path)
      if let temperature = discrete.temperature {
        text += ", \"temperature\": "
        try float(temperature, "\(path).temperature")
      }
      if let support = discrete.support {
        text += ", \"support\": ["
        for token in 0..<support.count {
          if token > 0 { text += ", " }
          integers(support[token])
        }
        text += "]"
      }
      try streams(discrete.streams, path)
    case .soft(let soft):
      text += "{\"kind\": \"soft\", "
      try rows(soft, path)
      try slots(soft.logProbs, steps: soft.count, slotCount: slotCount, path)
      try streams(soft.streams, path)
    case .replayed(.tokens(let tokenIDs)):
      text += "{\"kind\": \"replayed\", \"token_ids\": "
      integers(tokenIDs[...])
    case .replayed(.soft(let soft)):
      text += "{\"kind\": \"replayed\", "
      try rows(soft, path)
    }
    text += "}"
  }

  /// A number a step, or a list where steps have several slots.
  mutating func slots(_ values: [Float], steps: Int, slotCount: Int, _ path: String) throws {
    guard slotCount > 1, values.count == steps * slotCount, steps > 0 else {
      return try logProbs(values, count: steps, path)
    }
    text += ", \"log_probs\": ["
    for step in 0..<steps {
      if step > 0 { text += ", " }
      try floats(values[step * slotCount..<(step + 1) * slotCount], "\(path).log_probs[\(step)]")
    }
    text += "]"
  }

  private mutating func rows(_ soft: SoftSegment, _ path: String) throws {
    text += "\"token_ids\": ["
    for step in 0..<soft.tokenIDs.count {
      if step > 0 { text += ", " }
      integers(soft.tokenIDs[step])
    }
    text += "], \"values\": ["
    for step in 0..<soft.values.count {
      if step > 0 { text += ", " }
      try floats(soft.values[step], "\(path).values[\(step)]")
    }
    text += "]"
  }

  /// A key each, in one order.
  private mutating func streams(_ streams: StepStreams, _ path: String) throws {
    for stream in SideStream.allCases {
      guard let column = streams[stream] else { continue }
      text += ", \"\(stream.rawValue)\": "
      try floats(column[...], "\(path).\(stream.rawValue)")
    }
  }

  /// Left out when not known.
  mutating func logProbs(_ values: [Float], count: Int, _ path: String) throws {
    if values.isEmpty && count > 0 { return }
    text += ", \"log_probs\": "
    try floats(values[...], "\(path).log_probs")
  }
}
