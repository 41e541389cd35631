"""The simulated fleets of docs/scaling.md: tables on standard output, plots as SVG."""
import json

from scaling_model import simulate
from scaling_plots import page

GIGABIT = 1e9 / 8


def links(gigabits):
    rate = gigabits * GIGABIT
    return {"learner_link": rate, "relay_link": rate, "worker_link": rate}


def table(title, rows, columns):
    print(f"\n{title}\n")
    print("| " + " | ".join(name for name, _, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(form.format(row[key]) for _, key, form in columns) + " |")


RATES = [("workers", "workers", "{:,}"), ("trajectories/s", "trajectories_per_second", "{:.1f}"),
         ("step, s", "step_seconds", "{:.1f}"), ("update, s", "update_seconds", "{:.1f}"),
         ("helpers", "gradient_workers", "{:.0f}"), ("workers sample", "sampling", "{:.0%}"),
         ("compute gradients", "gradients", "{:.0%}"), ("learner computes", "learner_compute", "{:.0%}"), ("link in", "link_in", "{:.0%}"), ("out", "link_out", "{:.0%}"),
         ("libzmq", "library_thread", "{:.0%}"), ("I/O", "io_thread", "{:.1%}")]


def speedups(inputs, fleets, relays_for, batch, seen):
    """Trajectories a second over the number of workers, by what is switched on."""
    kinds = {"learner alone updates": (1, False, False), "leases, 1 Gbit/s": (1, True, False),
             "leases, relays, 1 Gbit/s": (1, True, True), "leases, 10 Gbit/s": (10, True, False),
             "leases, relays, 10 Gbit/s": (10, True, True)}
    lines = {}
    for label, (gigabits, leases, relays) in kinds.items():
        rows = []
        for workers in fleets:
            row = simulate(**{**inputs, **links(gigabits), "workers": workers, "batch": batch, "max_staleness": 1, "steps": 6,
                              "gradient_leases": leases, "relays": relays_for(workers) if relays else 0})
            row["kind"] = label
            rows.append(row)
        lines[label] = [(row["workers"], row["trajectories_per_second"]) for row in rows]
        table(f"{label}, {batch:,} trajectories a step", rows, RATES)
        seen += rows
    return lines


def front_end(inputs, fleets, relays_for, seen):
    """What the learner's link and threads carry when its updates cost nothing: 32 trajectories a worker and step."""
    shares, broadcasts = {}, {}
    for gigabits, relays in ((1, False), (1, True), (10, False)):
        kind = f"{gigabits} Gbit/s" + (", relays" if relays else "")
        rows = []
        for workers in fleets:
            row = simulate(**{**inputs, **links(gigabits), "workers": workers, "batch": 32 * workers, "max_staleness": 1, "steps": 3,
                              "update_per_token": 0.0, "relays": relays_for(workers) if relays else 0})
            row["kind"] = "no update, " + kind
            rows.append(row)
        table(f"an update that costs nothing, {kind}", rows, RATES + [
            ("broadcast, s", "broadcast_slowest", "{:.2f}"), ("all join, s", "join_seconds", "{:.0f}")])
        broadcasts[kind] = [(row["workers"], row["broadcast_slowest"]) for row in rows]
        if not relays:
            shares[f"link in, {gigabits} Gbit/s"] = [(row["workers"], 100 * row["link_in"]) for row in rows]
        if gigabits == 10 and not relays:
            shares["libzmq's thread"] = [(row["workers"], 100 * row["library_thread"]) for row in rows]
            shares["I/O thread"] = [(row["workers"], 100 * row["io_thread"]) for row in rows]
            shares["sampling"] = [(row["workers"], 100 * row["sampling"]) for row in rows]
        seen += rows
    return shares, broadcasts


def staleness(inputs, relays_for, seen):
    """What a bound of n versions gives: leases on, relays, 10 Gbit/s, 4,096 trajectories a step."""
    lines = {}
    for workers in (10, 100, 1000):
        rows = []
        for bound in (0, 1, 2, 4):
            row = simulate(**{**inputs, **links(10), "workers": workers, "batch": 4096, "max_staleness": bound,
                              "steps": 10 + bound, "gradient_leases": True, "relays": relays_for(workers)})
            row.update(max_staleness=bound, kind="staleness")
            rows.append(row)
        lines[f"{workers} workers"] = [(row["max_staleness"], row["trajectories_per_second"]) for row in rows]
        table(f"max_staleness, {workers} workers", rows, [("n", "max_staleness", "{}")] + RATES[1:] + [("lag", "lag", "{:.2f}")])
        seen += rows
    return lines


def run(small, larger, fleets, relays_for, plots, output):
    seen = []
    pictures = {}
    print("SmolLM2-135M")
    first = speedups(small, fleets, relays_for, 4096, seen)
    print("\n1.5B")
    second = speedups(larger, fleets, relays_for, 4096, seen)
    pictures["scaling-workers.svg"] = page([
        ("135M: trajectories a second", "workers", "4,096 a step, max_staleness 1", first, {}),
        ("1.5B: trajectories a second", "workers", "4,096 a step, max_staleness 1", second, {})])
    print("\nFront end, SmolLM2-135M")
    shares, broadcasts = front_end(small, [n for n in fleets if n >= 10], relays_for, seen)
    pictures["scaling-front-end.svg"] = page([
        ("Learner's front end, its update costs nothing", "workers", "per cent busy", shares, {}),
        ("Delta of 0.72 MB at the last worker", "workers", "seconds", broadcasts, {})])
    print("\nStaleness, SmolLM2-135M")
    pictures["scaling-staleness.svg"] = page([
        ("Trajectories a second", "max_staleness", "leases, relays, 10 Gbit/s, 4,096 a step",
         staleness(small, relays_for, seen), {"linear_x": True})])
    if plots:
        for name, picture in pictures.items():
            with open(f"{plots}/{name}", "w") as file:
                file.write(picture)
    if output:
        with open(output, "w") as file:
            json.dump(seen, file, indent=1)
