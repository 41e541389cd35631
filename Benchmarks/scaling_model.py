"""A discrete-event model of a run: workers that sample, a learner that updates, relays, links and the learner's I/O threads.

What is modelled is what the protocol does (docs/protocol.md, docs/gradient-leases.md); what is measured comes in as numbers.
Times in seconds, sizes in bytes, lengths in tokens. The same inputs give the same outputs.
"""
import collections
import dataclasses
import heapq
import itertools
import math
import random


@dataclasses.dataclass
class Inputs:
    workers: int = 1
    relays: int = 0
    steps: int = 8
    batch: int = 512                       # trajectories of a step
    max_staleness: int = 0
    gradient_leases: bool = False
    # Sampling: total tokens a second by the number of sequences that a worker decodes at once.
    decode: tuple = ((1, 100.0), (32, 2200.0))
    slots: int = 64                        # sequences that a worker decodes at once
    mean_length: float = 300.0             # completion tokens; log-normal
    length_deviation: float = 0.5          # of the logarithm; 0: all alike
    longest: float = 1024.0
    # Update.
    update_per_token: float = 0.0007       # learner's seconds a completion token: forward and backward
    apply_seconds: float = 0.3             # norm, AdamW, packing, encoding the delta
    worker_prepare: float = 0.05           # from a version's arrival until a worker samples with it
    worker_gradient_rate: float = 1.0      # a worker's rate over the learner's
    leaf_tokens: float = 4096.0
    merge_seconds: float = 0.03            # adding two gradients
    # Wire.
    trajectory_bytes_per_token: float = 45.0
    trajectory_bytes: float = 300.0        # of its own, beside its tokens
    delta_bytes: float = 0.72e6
    snapshot_bytes: float = 269e6
    gradient_bytes: float = 540e6
    # Links, bytes a second and direction; latency one way.
    learner_link: float = 1e9 / 8
    relay_link: float = 1e9 / 8
    worker_link: float = 1e9 / 8
    latency: float = 0.0005
    # The learner's own I/O thread and libzmq's beside it.
    io_per_trajectory: float = 30e-6
    library_per_trajectory: float = 40e-6
    io_per_byte: float = 0.0
    io_per_heartbeat: float = 5e-6
    heartbeat_seconds: float = 5.0
    seed: int = 1


class Server:
    """First come, first served; `rate` units a second."""

    def __init__(self, rate):
        self.rate, self.free_at, self.busy = rate, 0.0, 0.0

    def serve(self, now, amount):
        seconds = amount / self.rate
        self.busy += seconds
        self.free_at = max(now, self.free_at) + seconds
        return self.free_at


class Worker:
    """Decodes up to `slots` sequences at once, all at one speed: `position` counts the tokens that each gets."""

    def __init__(self, number, relay):
        self.number, self.relay = number, relay
        self.version = -1
        self.position = 0.0
        self.since = 0.0
        self.active = []                   # heap of (position at which it ends, id, step, length)
        self.held = collections.Counter()  # by step
        self.suspended_until = 0.0
        self.token = 0                     # invalidates older events
        self.sampling, self.gradients = 0.0, 0.0


class Simulation:
    def __init__(self, inputs):
        self.inputs = inputs
        self.random = random.Random(inputs.seed)
        self.now, self.events, self.ids = 0.0, [], itertools.count()
        self.link_in, self.link_out = Server(inputs.learner_link), Server(inputs.learner_link)
        self.io, self.library = Server(1.0), Server(1.0)
        self.relay_in = [Server(inputs.relay_link) for _ in range(inputs.relays)]
        self.relay_out = [Server(inputs.relay_link) for _ in range(inputs.relays)]
        self.workers = [Worker(n, n % inputs.relays if inputs.relays else None) for n in range(inputs.workers)]
        self.ledger = {}                   # step: samples not granted
        self.accepted = collections.Counter()
        self.tokens = collections.Counter()
        self.trained = 0
        self.version = 0
        self.is_updating = False
        self.update_busy = 0.0
        self.records = []
        self.accepted_at, self.first_grant = {}, {}
        self.lag = collections.Counter()
        self.arrivals = collections.defaultdict(list)
        self.published_at = {0: 0.0}
        self.gradient_workers = 0
        points = sorted(inputs.decode)
        self.speeds = [0.0] + [self.speed(points, n) for n in range(1, inputs.slots + 1)]

    @staticmethod
    def speed(points, count):
        """Tokens a second of one of `count` sequences."""
        if count <= points[0][0]:
            # Fewer than measured: a step takes no longer than that of the smallest batch measured.
            return points[0][1] / points[0][0]
        for (low, slow), (high, fast) in zip(points, points[1:]):
            if count <= high:
                # A step's time grows in a straight line between two measured batches.
                below, above = low / slow, high / fast
                return 1 / (below + (above - below) * (count - low) / (high - low))
        return points[-1][1] / count

    def at(self, time, action, *arguments):
        heapq.heappush(self.events, (max(time, self.now), next(self.ids), action, arguments))

    def run(self):
        for step in range(min(self.inputs.max_staleness + 1, self.inputs.steps)):
            self.submit(step)
        for worker in self.workers:
            self.receive(worker, 0)
        while self.events and self.version < self.inputs.steps:
            self.now, _, action, arguments = heapq.heappop(self.events)
            action(*arguments)
        assert self.version == self.inputs.steps, "the run stands still"
        return self.summary()

    # Sampling.

    def submit(self, step):
        self.ledger[step] = self.inputs.batch
        for worker in self.workers:
            self.grant(worker)

    def draw_length(self):
        deviation = self.inputs.length_deviation
        if deviation == 0:
            return self.inputs.mean_length
        mean = math.log(self.inputs.mean_length) - deviation ** 2 / 2
        return max(1.0, min(self.inputs.longest, self.random.lognormvariate(mean, deviation)))

    def grant(self, worker):
        """Lends samples of the oldest step that the worker's version may sample, in shares that leave some for others."""
        granted = False
        self.progress(worker)
        for step in sorted(self.ledger):
            if worker.version < step - self.inputs.max_staleness:
                continue
            share = max(1, math.ceil(self.inputs.batch / self.inputs.workers))
            while (self.ledger[step] > 0 and len(worker.active) < self.inputs.slots
                   and worker.held[step] < share):
                self.ledger[step] -= 1
                worker.held[step] += 1
                length = self.draw_length()
                heapq.heappush(worker.active, (worker.position + length, next(self.ids), step, length, worker.version))
                self.first_grant.setdefault(step, self.now)
                granted = True
            if self.ledger[step] == 0:
                del self.ledger[step]
        if granted:
            self.plan(worker)

    def progress(self, worker):
        """Brings a worker's account up to now."""
        begin = max(worker.since, min(worker.suspended_until, self.now))
        if worker.active and self.now > begin:
            worker.position += (self.now - begin) * self.speeds[len(worker.active)]
            worker.sampling += self.now - begin
        worker.since = self.now

    def plan(self, worker):
        worker.token += 1
        if not worker.active:
            return
        left = max(0.0, worker.active[0][0] - worker.position)
        begin = max(self.now, worker.suspended_until)
        self.at(begin + left / self.speeds[len(worker.active)], self.finish, worker, worker.token)

    def finish(self, worker, token):
        if token != worker.token:
            return
        self.progress(worker)
        worker.position = max(worker.position, worker.active[0][0])
        _, _, step, length, version = heapq.heappop(worker.active)
        worker.held[step] -= 1
        size = self.inputs.trajectory_bytes + length * self.inputs.trajectory_bytes_per_token
        at = self.now + size / self.inputs.worker_link + self.inputs.latency
        if worker.relay is None:
            self.at(at, self.arrive, step, length, size, version)
        else:
            self.at(at, self.pass_on, worker.relay, step, length, size, version)
        self.plan(worker)
        self.grant(worker)

    def pass_on(self, relay, step, length, size, version):
        self.at(self.relay_in[relay].serve(self.now, size) + self.inputs.latency, self.arrive, step, length, size, version)

    def arrive(self, step, length, size, version):
        """A trajectory at the learner's link: then libzmq's thread, then the I/O thread. Order is kept, so one event does."""
        at = self.link_in.serve(self.now, size)
        at = self.library.serve(at, self.inputs.library_per_trajectory + size * self.inputs.io_per_byte)
        at = self.io.serve(at, self.inputs.io_per_trajectory)
        self.at(at, self.accept, step, length, version)

    def accept(self, step, length, version):
        self.accepted[step] += 1
        self.tokens[step] += length
        self.lag[step] += step - version
        if self.accepted[step] == self.inputs.batch:
            self.accepted_at[step] = self.now
            self.try_update()

    # Updates.

    def try_update(self):
        step = self.version
        if self.is_updating or step >= self.inputs.steps or self.accepted[step] < self.inputs.batch:
            return
        self.is_updating = True
        self.began = self.now
        work = self.tokens[step] * self.inputs.update_per_token
        helpers, share, learner_share = self.lend(work)
        self.gradient_workers = sum(len(group) for group in helpers)
        self.outstanding = 1 + len(helpers)
        self.update_busy += learner_share
        self.at(self.now + learner_share, self.part_done)
        for index, group in enumerate(helpers):
            self.send_gradients(group, share[index])

    def lend(self, work):
        """Who computes how much (docs/gradient-leases.md, Who gets how much): groups of workers, each behind one relay or alone,
        the seconds of work for each of its workers, and the learner's own seconds."""
        inputs = self.inputs
        leaf = inputs.leaf_tokens * inputs.update_per_token
        if not inputs.gradient_leases or not self.workers or work <= leaf:
            return [], [], work
        rate = inputs.worker_gradient_rate
        transfer = inputs.gradient_bytes / min(inputs.learner_link, inputs.relay_link if inputs.relays else math.inf)
        best = (work, 0, 0, 0.0)
        fans = [1] if not inputs.relays else sorted({1, 2, 4, 8, 16, 32, 64, 128} | {max(1, inputs.workers // inputs.relays)})
        for fan in fans:
            limit = min(inputs.workers // fan, inputs.relays or inputs.workers, int(work / leaf / fan) + 1)
            inner = 0 if not inputs.relays else fan * (
                inputs.gradient_bytes / min(inputs.relay_link, inputs.worker_link) + inputs.merge_seconds)
            total = 0.0
            for count in range(1, limit + 1):
                delay = inner + count * (transfer + inputs.merge_seconds)
                total += fan * delay
                end = (work + rate * total) / (1 + rate * fan * count)
                if end <= delay:
                    break
                if end < best[0]:
                    best = (end, fan, count, inner)
        end, fan, count, inner = best
        if count == 0:
            return [], [], work
        # Leaves go to whoever would be back with them first; the learner is number 0.
        delays = [0.0] + [inner + index * (transfer + inputs.merge_seconds) for index in range(1, count + 1)]
        leaves = [0] * (count + 1)
        ends = [(leaf, 0)] + [(delays[index] + leaf / rate, index) for index in range(1, count + 1)]
        heapq.heapify(ends)
        left = math.ceil(work / leaf - 1e-9)
        while left > 0:
            at, index = heapq.heappop(ends)
            left -= 1 if index == 0 else fan
            leaves[index] += 1
            heapq.heappush(ends, (at + (leaf if index == 0 else leaf / rate), index))
        groups, shares = [], []
        for index in range(1, count + 1):
            if leaves[index] > 0:
                first = index - 1
                groups.append(list(range(first, inputs.workers, inputs.relays))[:fan] if inputs.relays else [first])
                shares.append(leaves[index] * leaf / rate)
        return groups, shares, min(work, leaves[0] * leaf)

    def send_gradients(self, group, seconds):
        for number in group:
            worker = self.workers[number]
            self.progress(worker)
            worker.suspended_until = max(worker.suspended_until, self.now) + seconds
            worker.gradients += seconds
            self.plan(worker)
        computed = self.now + seconds + self.inputs.latency
        if self.inputs.relays:
            relay = self.workers[group[0]].relay
            for number in group:
                self.at(computed, self.gather, relay, len(group) if number == group[0] else 0)
        else:
            at = computed + max(0.0, self.inputs.gradient_bytes / self.inputs.worker_link
                                - self.inputs.gradient_bytes / self.inputs.learner_link)
            self.at(at, self.pull, self.inputs.gradient_bytes)

    def gather(self, relay, expected):
        """A worker's gradient at its relay. All of a group come at the same time, so the first event knows when the sum of
        `expected` gradients goes on."""
        at = self.relay_in[relay].serve(self.now, self.inputs.gradient_bytes) + self.inputs.merge_seconds
        if expected:
            at += (expected - 1) * (self.inputs.gradient_bytes / self.inputs.relay_link + self.inputs.merge_seconds)
            self.at(at + self.inputs.latency, self.pull, self.inputs.gradient_bytes)

    def pull(self, left):
        """A gradient at the learner, in pieces that trajectories may pass between."""
        piece = min(left, 4e6)
        at = self.link_in.serve(self.now, piece)
        if left > piece:
            self.at(at, self.pull, left - piece)
        else:
            self.at(at + self.inputs.merge_seconds, self.part_done)

    def part_done(self):
        self.outstanding -= 1
        if self.outstanding == 0:
            self.update_busy += self.inputs.apply_seconds
            self.at(self.now + self.inputs.apply_seconds, self.publish)

    def publish(self):
        step = self.version
        self.records.append({
            "step": step, "end": self.now, "update": self.now - self.began,
            "sample": self.accepted_at[step] - self.first_grant[step], "tokens": self.tokens[step],
            "lag": self.lag[step] / self.inputs.batch, "gradient_workers": self.gradient_workers})
        self.trained += self.accepted[step]
        self.is_updating = False
        self.version = version = step + 1
        self.published_at[version] = self.now
        ahead = version + self.inputs.max_staleness
        if ahead < self.inputs.steps:
            self.submit(ahead)
        size = self.inputs.delta_bytes
        if self.inputs.relays:
            for relay in range(self.inputs.relays):
                self.at(self.link_out.serve(self.now, size) + self.inputs.latency, self.fan_out, relay, version)
        else:
            for worker in self.workers:
                at = self.link_out.serve(self.now, size) + self.inputs.latency
                slower = max(0.0, size / self.inputs.worker_link - size / self.inputs.learner_link)
                self.at(at + slower, self.receive, worker, version)
        self.try_update()

    def fan_out(self, relay, version):
        for worker in self.workers[relay::self.inputs.relays]:
            at = self.relay_out[relay].serve(self.now, self.inputs.delta_bytes) + self.inputs.latency
            self.at(at, self.receive, worker, version)

    def receive(self, worker, version):
        self.arrivals[version].append(self.now - self.published_at[version])
        self.at(self.now + self.inputs.worker_prepare, self.hold, worker, version)

    def hold(self, worker, version):
        worker.version = max(worker.version, version)
        self.grant(worker)

    # Results.

    def summary(self):
        inputs = self.inputs
        # The first steps fill the pipeline.
        skipped = min(inputs.max_staleness + 1, len(self.records) - 1)
        first = self.records[skipped - 1]["end"] if skipped else 0.0
        records = self.records[skipped:]
        seconds = self.now - first
        mean = lambda name: sum(record[name] for record in records) / len(records)
        heartbeats = self.now * (inputs.relays or inputs.workers) / inputs.heartbeat_seconds
        whole = max(1e-12, self.now)
        broadcasts = sorted(itertools.chain.from_iterable(
            times for version, times in self.arrivals.items() if version > 0))
        fleet = max(1e-12, whole * inputs.workers)
        return {
            "workers": inputs.workers, "relays": inputs.relays, "step_seconds": seconds / len(records),
            "trajectories_per_second": inputs.batch * len(records) / seconds,
            "tokens_per_second": sum(record["tokens"] for record in records) / seconds,
            "update_seconds": mean("update"), "sample_seconds": mean("sample"), "lag": mean("lag"),
            "gradient_workers": mean("gradient_workers"),
            "learner_compute": self.update_busy / whole,
            "link_in": self.link_in.busy / whole, "link_out": self.link_out.busy / whole,
            "io_thread": self.io.busy / whole + heartbeats * inputs.io_per_heartbeat / whole,
            "library_thread": self.library.busy / whole,
            "sampling": sum(w.sampling for w in self.workers) / fleet,
            "gradients": sum(w.gradients for w in self.workers) / fleet,
            "broadcast_median": broadcasts[len(broadcasts) // 2] if broadcasts else 0.0,
            "broadcast_slowest": broadcasts[-1] if broadcasts else 0.0,
            "join_seconds": self.join_seconds(),
            "trained": self.trained,
        }

    def join_seconds(self):
        """Until the last of all workers, who start together, has the first snapshot."""
        inputs = self.inputs
        size = inputs.snapshot_bytes
        if not inputs.relays:
            return max(inputs.workers * size / inputs.learner_link, size / inputs.worker_link)
        children = math.ceil(inputs.workers / inputs.relays)
        return (inputs.relays * size / inputs.learner_link
                + max(children * size / inputs.relay_link, size / inputs.worker_link))


def simulate(**values):
    return Simulation(Inputs(**values)).run()
