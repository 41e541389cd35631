import Credit
import JSON

/// Selections by the base names of their files.
let selectionEntries: [MethodEntry] = [
  MethodEntry("d3s", "function VarianceSelection") { method in
    try method.require(options: ["rollouts", "token_share"])
    let selection = VarianceSelection(
      rollouts: try method.integer(option: "rollouts"), tokenShare: try method.number(option: "token_share"))
    let advantages = try method.value.doubles("advantages")
    let selected = selection.selected(advantages: advantages)
    let tokens = try selection.tokens(
      advantages: advantages, entropy: method.value.rows("entropy"), selected: selected.indices)
    var output = [
      "selected": json(selected.indices), "variance": json(selected.variance),
      "tokens": JSONValue.array(tokens.map { json($0) }),
    ]
    if let schedule = method["schedule"] {
      let (initial, final) = (try schedule.doubles("initial"), try schedule.doubles("final"))
      guard initial.count == 2, final.count == 2 else { throw UnsupportedCase("a schedule goes between pairs [N, K]") }
      let scheduled = VarianceSelection.scheduled(
        initial: (initial[0], initial[1]), final: (final[0], final[1]), progress: try schedule.double("progress"))
      output["scheduled"] = json([scheduled.rollouts, scheduled.tokenShare])
    }
    return output
  },
  MethodEntry("dynamic_sampling", "function variesInGroup") { method in
    try method.require(options: [])
    return ["kept": json(try method.value.list("groups").map { variesInGroup(try $0.doubles("rewards")) })]
  },
]
