import Foundation

/// One trajectory as a person reads it: the emitted token of each soft step stands for the step.
public struct TextSample: Sendable, Equatable {
  public var promptID: String
  public var sampleIndex: Int
  public var reward: Double?
  public var finishReason: String
  public var prompt: String
  public var thinking: String
  public var answer: String
  /// The reference answer, where the task has one.
  public var reference: String?

  public init(
    promptID: String, sampleIndex: Int, reward: Double?, finishReason: String, prompt: String, thinking: String,
    answer: String, reference: String? = nil
  ) {
    self.promptID = promptID
    self.sampleIndex = sampleIndex
    self.reward = reward
    self.finishReason = finishReason
    self.prompt = prompt
    self.thinking = thinking
    self.answer = answer
    self.reference = reference
  }

  /// A heading, then each part under its name, indented.
  public func rendered() -> String {
    var heading = "prompt \(promptID), sample \(sampleIndex), \(finishReason)"
    if let reward { heading += ", reward \(formatFixed(reward, 3))" }
    var text = "== \(singleLine(heading))\n"
    for (name, part) in [
      ("prompt", prompt), ("thinking", thinking), ("answer", answer), ("reference", reference ?? ""),
    ]
    where name != "reference" || reference != nil {
      text += "\(name):\n"
      for line in part.split(separator: "\n", omittingEmptySubsequences: false) {
        text += "  \(singleLine(String(line)))\n"
      }
    }
    return text
  }

  /// Writes a step's samples to `DIRECTORY/step-000010.txt`, whole or not at all; a resumed run overwrites its own.
  /// - Returns: the file's path.
  /// - Throws: `ObservabilityError` when the directory or the file cannot be written.
  @discardableResult
  public static func write(_ samples: [TextSample], step: Int, directory: String) throws(ObservabilityError) -> String {
    let digits = String(step)
    let path = "\(directory)/step-\(String(repeating: "0", count: max(0, 6 - digits.count)))\(digits).txt"
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      try Data(samples.map { $0.rendered() }.joined(separator: "\n").utf8).write(
        to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      let reason = (error as NSError).localizedFailureReason ?? "\(error)"
      throw ObservabilityError("\(path): cannot write the samples: \(reason)")
    }
    return path
  }
}
