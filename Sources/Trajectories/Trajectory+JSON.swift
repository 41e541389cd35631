import JSON
import Parameters
import Thinking

// A trajectory as a line of a trajectory file (docs/trajectory-format.md).
extension Trajectory {
  /// Decodes one line of a trajectory file.
  ///
  /// Required keys: `group_id`, `policy`, `prompt`, `segments`. Absent `prompt_id` is "", `sample_index` 0,
  /// `policy_version` -1 (a foreign policy), `policy_versions` none, `finish_reason` "stop"; absent policy keys take the policy's defaults;
  /// unknown keys are ignored, except in `policy`. The shapes are checked here, ids against a vocabulary in `validate`.
  ///
  /// - Throws: `ThinkingError` naming the key's path and the remedy.
  public init(jsonLine: String) throws {
    let fields = try JSONFields(JSONValue(line: jsonLine), "")
    let policy = try ThinkingPolicy(JSONFields(fields.required("policy"), "policy"))
    let prompt = try decodeTokenIDs(fields.required("prompt"), "prompt")
    guard !prompt.isEmpty else { throw ThinkingError("prompt is empty; the first step needs a token before it") }
    var segments: [Segment] = []
    for (i, value) in try jsonArray(fields.required("segments"), "segments").enumerated() {
      segments.append(try decodeSegment(JSONFields(value, "segments[\(i)]"), policy))
    }
    let reason: FinishReason? = try fields.name("finish_reason")
    let policyVersion = try fields.integer("policy_version") ?? -1
    let spans = try fields["policy_versions"].map { try decodeSpans($0, "policy_versions") } ?? []
    let count = segments.reduce(0) { $0 + $1.count }
    if let problem = versionSpansProblem(spans, policyVersion: policyVersion, completionCount: count) {
      throw ThinkingError("policy_versions: \(problem)")
    }
    self.init(
      promptID: try decodePromptID(fields), groupID: try jsonInteger(fields.required("group_id"), "group_id"),
      sampleIndex: try fields.integer("sample_index") ?? 0, policy: policy,
      policyVersion: policyVersion, prompt: prompt, segments: segments, finishReason: reason ?? .stop,
      reward: try fields.float("reward"), versionSpans: spans)
  }

  /// This trajectory as one line of a trajectory file, without the newline. Floats are written in the shortest
  /// form that reads back as the same `Float`.
  ///
  /// - Throws: `ThinkingError` when a number is NaN or infinite, for which JSON has no form.
  public func jsonLine() throws -> String {
    var line = TrajectoryLine()
    line.text += "{\"prompt_id\": "
    line.string(promptID)
    line.text += ", \"group_id\": \(groupID), \"sample_index\": \(sampleIndex), \"policy\": "
    line.text += policy.json
    line.text += ", \"policy_version\": \(policyVersion)"
    if !versionSpans.isEmpty {
      let pairs = versionSpans.map { "[\($0.start), \($0.version)]" }.joined(separator: ", ")
      line.text += ", \"policy_versions\": [\(pairs)]"
    }
    line.text += ", \"prompt\": "
    line.integers(prompt[...])
    line.text += ", \"segments\": ["
    for (i, segment) in segments.enumerated() {
      if i > 0 { line.text += ", " }
      try line.segment(segment, slotCount: policy.slotCount, "segments[\(i)]")
    }
    line.text += "], \"finish_reason\": \"\(finishReason.rawValue)\""
    if let reward {
      line.text += ", \"reward\": "
      try line.float(reward, "reward")
    }
    line.text += "}"
    return line.text
  }
}
