"""Holds the simulator against runs with throttled workers: `simulate-scaling --validate measured.jsonl`.

The file is what measure-throttled printed. Its two runs with one worker give the inputs (two batch sizes tell what a token
costs from what a step costs); the others are predicted.
"""
import json

from scaling_model import simulate


def run(path):
    with open(path) as file:
        measured = [json.loads(line) for line in file]
    small, large = sorted((row for row in measured if row["workers"] == 1), key=lambda row: row["batch"])
    sampling = [row["step_seconds"] - row["update"] for row in (small, large)]
    tokens = [row["batch"] * row["length"] for row in (small, large)]
    rate = (tokens[1] - tokens[0]) / (sampling[1] - sampling[0])
    fixed = sampling[1] - tokens[1] / rate
    print(f"inputs: {rate:.0f} tokens a second and worker, {fixed:.3f} s from a version to sampling, "
          f"{1e6 * large['update'] / tokens[1]:.1f} us of update a token\n")
    print("| workers | batch | max_staleness | measured step, s | simulated | difference |\n|---|---|---|---|---|---|")
    worst = 0.0
    for row in measured:
        result = simulate(
            workers=row["workers"], batch=row["batch"], max_staleness=row["max_staleness"], steps=12, decode=((64, rate),),
            slots=64, mean_length=row["length"], length_deviation=0, update_per_token=large["update"] / tokens[1], apply_seconds=0,
            worker_prepare=fixed, delta_bytes=0, snapshot_bytes=0, learner_link=1e10, worker_link=1e10)
        difference = result["step_seconds"] / row["step_seconds"] - 1
        if row is not small and row is not large:
            worst = max(worst, abs(difference))
        print(f"| {row['workers']} | {row['batch']} | {row['max_staleness']} | {row['step_seconds']:.2f} "
              f"| {result['step_seconds']:.2f} | {difference:+.0%}{' (fitted)' if row in (small, large) else ''} |")
    return worst
