"""What the comparisons share: running an engine in a process of its own, rounds in turn, medians."""
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEFAULT_PROGRAM = os.path.join(ROOT, ".build", "release", "softgrpo")


def run_json(command: list[str], threads: int, timeout: int = 3600) -> dict:
    """Runs a command in a process of its own, so that no thread pool outlives its turn; returns its JSON."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    # Libraries may talk before the result.
    return json.loads(done.stdout[done.stdout.index("{"):])


def in_turns(engines: dict, rounds: int) -> dict:
    """Calls every engine once a round, in an order that rotates; returns each one's list of results."""
    results = {name: [] for name in engines}
    names = list(engines)
    for index in range(rounds):
        for name in names[index % len(names):] + names[:index % len(names)]:
            print(f"round {index + 1} of {rounds}: {name}", file=sys.stderr)
            try:
                results[name].append(engines[name]())
            except Exception as error:  # One engine that fails must not lose the others' figures.
                print(f"  failed: {error}", file=sys.stderr)
    return {name: values for name, values in results.items() if values}


def median(values):
    return statistics.median(values)


def peak_memory_bytes() -> int:
    """Largest resident memory of this process."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def table(titles: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [titles] + rows) for column in range(len(titles))]
    lines = []
    for row in [titles] + rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
