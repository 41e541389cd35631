"""Cases whose answers can be written down, against which `simulate-scaling --self-test` holds the simulator."""
import random

from scaling_model import Inputs, Server, Simulation, simulate

QUIET = dict(length_deviation=0, mean_length=100, latency=0, trajectory_bytes=0, trajectory_bytes_per_token=0, delta_bytes=0,
             io_per_trajectory=0, library_per_trajectory=0, io_per_heartbeat=0, apply_seconds=0, update_per_token=0,
             snapshot_bytes=0, worker_prepare=0, decode=((1, 50), (10, 200)), slots=10, steps=6)


def cases():
    """(name, measured, expected, tolerance)"""
    # One sequence at a time on one worker: 4 x 100 tokens at 50 tokens a second.
    one = simulate(**{**QUIET, "slots": 1, "batch": 4})
    yield "one worker, one sequence", one["step_seconds"], 8.0, 1e-9
    # Ten at once: 200 tokens a second together, 5 s for the ten; eight workers and 80 sequences take as long.
    yield "ten sequences at once", simulate(**{**QUIET, "batch": 10})["step_seconds"], 5.0, 1e-9
    yield "eight workers", simulate(**{**QUIET, "batch": 80, "workers": 8})["step_seconds"], 5.0, 1e-9
    # Between measured batches a step's time is a straight line: (1/50 + (10/200 - 1/50) 4/9) s a step of five.
    yield "five at once", simulate(**{**QUIET, "batch": 5})["step_seconds"], 100 * (1 / 50 + (1 / 20 - 1 / 50) * 4 / 9), 1e-9

    # Sampling 5 s and an update of 3 s (1,000 tokens): their sum, or the longer of the two with a step ahead.
    update = {**QUIET, "batch": 10, "update_per_token": 0.003}
    yield "strictly on-policy", simulate(**update)["step_seconds"], 8.0, 1e-9
    ahead = simulate(**{**update, "max_staleness": 1, "steps": 40})
    yield "one step ahead", ahead["step_seconds"], 5.0, 1e-2
    slow = simulate(**{**update, "update_per_token": 0.009, "max_staleness": 1, "steps": 40})
    yield "one step ahead, the learner is the limit", slow["step_seconds"], 9.0, 1e-2
    yield "the learner is always busy then", slow["learner_compute"], 1.0, 5e-2

    # Limits by one server each: 10 kB over 1 MB/s, 1 ms of the I/O thread; 40 workers would do 80 trajectories a second each.
    many = {**QUIET, "batch": 400, "workers": 40, "decode": ((1, 1e6), (10, 1e6)), "max_staleness": 4, "steps": 30}
    link = simulate(**{**many, "trajectory_bytes": 10_000, "learner_link": 1e6})
    yield "the learner's link is the limit", link["trajectories_per_second"], 100.0, 2e-2
    yield "the I/O thread is the limit", simulate(**{**many, "io_per_trajectory": 1e-3})["trajectories_per_second"], 1000.0, 2e-2

    # A delta of 1 MB to 40 workers over 1 MB/s: the last one has it after 40 s; through four relays after 4 s + 10 s.
    weights = {**QUIET, "mean_length": 1e4, "batch": 40, "workers": 40, "delta_bytes": 1e6, "learner_link": 1e6, "relay_link": 1e6, "worker_link": 1e9}
    yield "a broadcast", simulate(**weights)["broadcast_slowest"], 40.0, 1e-6
    yield "a broadcast through relays", simulate(**{**weights, "relays": 4})["broadcast_slowest"], 14.0, 1e-6
    yield "all join", simulate(**{**weights, "snapshot_bytes": 1e6})["join_seconds"], 40.0, 1e-9

    # 100,000 tokens of update at 1 ms, leaves of 100 tokens: with 4 helpers and no transfer a fifth of 100 s.
    leases = {**QUIET, "batch": 1000, "workers": 4, "slots": 10, "update_per_token": 1e-3, "leaf_tokens": 100, "merge_seconds": 0,
              "gradient_leases": True, "gradient_bytes": 0, "steps": 3}
    yield "gradient leases", simulate(**leases)["update_seconds"], 20.0, 1e-2
    yield "no helper where transfers cost more than they save", simulate(
        **{**leases, "gradient_bytes": 200e6, "learner_link": 1e6, "worker_link": 1e6})["update_seconds"], 100.0, 1e-9
    # Two transfers of 10 s one after the other: T = (100 + 10 + 20) / 3.
    two = simulate(**{**leases, "workers": 2, "gradient_bytes": 10e6, "learner_link": 1e6, "worker_link": 1e6})
    yield "gradient leases over a slow link", two["update_seconds"], 130 / 3, 1e-2

    # A queue with random arrivals at 80 % load and one service time: its mean wait is 0.8 / (2 (1 - 0.8)) = 2 services.
    source, server, now, waits = random.Random(7), Server(1.0), 0.0, 0.0
    for _ in range(400_000):
        now += source.expovariate(0.8)
        waits += server.serve(now, 1.0) - now - 1.0
    yield "waiting in a queue (M/D/1)", waits / 400_000, 2.0, 3e-2

    everything = dict(workers=30, relays=3, batch=120, max_staleness=2, gradient_leases=True, steps=10, update_per_token=0.01,
                      gradient_bytes=1e6)
    yield "trained as often as there were samples", simulate(**everything)["trained"], 1200, 0
    again = [simulate(**everything)["step_seconds"] for _ in range(2)]
    yield "the same twice", again[0] - again[1], 0.0, 0
    lagging = Simulation(Inputs(**{**everything, "workers": 300}))
    lagging.run()
    yield "nothing lags behind more than allowed", float(max(
        lag / lagging.inputs.batch for lag in lagging.lag.values()) <= 2), 1.0, 0


def run():
    """Prints each case; the number of those that failed."""
    failed = 0
    for name, measured, expected, tolerance in cases():
        is_right = abs(measured - expected) <= tolerance * max(1.0, abs(expected))
        failed += not is_right
        print(f"{'ok    ' if is_right else 'FAILED'} {name}: {measured:.6g}, expected {expected:.6g}")
    return failed
