"""How a sweep's throughput grows with its workers, by a simulation of what they share.

Each worker takes a trial, trains, and gives back its score. What all of them share are the
exclusive section in which trials are handed out, the study's storage, and the tracking server:
each is served first come, first served. A worker waits for the answers of `take`, `finish` and
`upload`; heartbeats, intermediate scores and metrics go out beside the training and only load the
servers. All times come from measurements (`scaling_measurements`),
except those of the network, which are a parameter.

The same model gives the classic results of queueing where it should: with one kind of call it is
an M/D/1 or M/M/1 queue's closed population (Kleinrock 1975, "Queueing Systems", volume 1).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pydantic

from donkey_rl.configuration import Config

_DRAWN = 10_007
"""Trial times that are drawn and then repeated."""

Resource = Literal["queue", "storage", "tracking"]


class Cost(Config):
    """Time of a call that grows with the trials of the study: ``fixed_s + per_trial_s n``.

    Attributes:
        fixed_s: Of a call to an empty study (s).
        per_trial_s: More for each trial that is there (s).
    """

    fixed_s: float = pydantic.Field(ge=0)
    per_trial_s: float = pydantic.Field(default=0.0, ge=0)

    def at(self, trials: int) -> float:
        """Returns the time with so many trials there (s)."""
        return self.fixed_s + self.per_trial_s * trials


class Costs(Config):
    """What calls take the shared servers and the worker itself, measured.

    Attributes:
        take: Of the queue: handing out a trial, the exclusive section; one worker at a time.
        sample: Of the worker: proposing the trial's parameters; all workers at once.
        write: Of the storage: keeping the trial's parameters.
        report: Of the storage: an intermediate score.
        beat: Of the storage: a heartbeat.
        finish: Of the storage: taking a score back.
        log: Of the tracking server: a batch of metrics.
        upload: Of the tracking server: the artifacts of a trial.
    """

    take: Cost
    sample: Cost
    write: Cost
    report: Cost
    beat: Cost
    finish: Cost
    log: Cost = Cost(fixed_s=0.0)
    upload: Cost = Cost(fixed_s=0.0)


class Sweep(Config):
    """What the workers do.

    Attributes:
        trial_s: Measured training times of trials, drawn with replacement (s).
        reports: Intermediate scores of a trial.
        beat_every_s: Time between two heartbeats (s).
        log_every_s: Time between two batches of metrics (s).
        round_trip_s: Of the network, added to each call that is waited for (s).
        storage_lanes: Calls that the storage serves at the same time.
        tracking_lanes: Calls that the tracking server serves at the same time.
        night_s: How long the workers work (s).
        trials_there: Trials in the study at the beginning.
        seed: Of the draws.
    """

    trial_s: tuple[float, ...] = pydantic.Field(min_length=1)
    reports: int = pydantic.Field(default=5, ge=0)
    beat_every_s: float = pydantic.Field(default=10.0, gt=0)
    log_every_s: float = pydantic.Field(default=2.0, gt=0)
    round_trip_s: float = pydantic.Field(default=0.0, ge=0)
    storage_lanes: int = pydantic.Field(default=1, ge=1)
    tracking_lanes: int = pydantic.Field(default=1, ge=1)
    night_s: float = pydantic.Field(default=8 * 3600.0, gt=0)
    trials_there: int = pydantic.Field(default=0, ge=0)
    seed: int = 0


class Throughput(NamedTuple):
    """What some workers come to.

    Attributes:
        workers: How many.
        trials: Finished in the time.
        efficiency: Share of what as many workers would finish that never wait for anything.
        busy: Share of the time that each server was busy.
        waited_s: Time that a trial waited for each server, in its queue and served (s).
        sampling_s: Time that a trial's parameters took to propose (s).
    """

    workers: int
    trials: int
    efficiency: float
    busy: dict[Resource, float]
    waited_s: dict[Resource, float]
    sampling_s: float

    @property
    def bottleneck(self) -> str:
        """What costs a trial the most time beside its training."""
        waits: dict[str, float] = {"proposing parameters": self.sampling_s}
        waits |= {str(name): each for name, each in self.waited_s.items()}
        return max(waits, key=lambda name: waits[name])


class _Server:
    """Serves calls in the order in which they arrive, `lanes` at a time."""

    def __init__(self, lanes: int) -> None:
        self._free = [0.0] * lanes
        self._lanes = lanes
        self.busy_s = 0.0

    def serve(self, now: float, takes: float) -> float:
        """Returns when a call is done that arrives now; calls arrive in order of time."""
        begins = max(now, self._free[0])
        heapq.heapreplace(self._free, begins + takes)
        self.busy_s += takes
        return begins + takes

    def share_busy(self, until: float) -> float:
        """Returns the share of the time that it was busy, at most 1."""
        return min(1.0, self.busy_s / (self._lanes * until))


class _Night:
    """One simulated night; see `simulate`."""

    def __init__(self, costs: Costs, sweep: Sweep, workers: int) -> None:
        self._costs, self._sweep = costs, sweep
        draw = np.random.default_rng([sweep.seed, workers])
        self._mean_s = float(np.mean(sweep.trial_s))
        # Machines are never started at the same moment.
        self._begin_s = draw.uniform(0.0, self._mean_s, workers).tolist()
        self._times = itertools.cycle(draw.choice(sweep.trial_s, _DRAWN).tolist())
        self._servers: dict[Resource, _Server] = {
            "queue": _Server(1),
            "storage": _Server(sweep.storage_lanes),
            "tracking": _Server(sweep.tracking_lanes),
        }
        self._events: list[tuple[float, int, int, str, float]] = []
        self._order = itertools.count()
        self._waited: dict[Resource, float] = dict.fromkeys(self._servers, 0.0)
        self._sampling_s = 0.0
        self._workers = workers
        self._there = sweep.trials_there
        self._finished = 0
        self._spacing = max(sweep.beat_every_s, sweep.log_every_s)

    def run(self) -> Throughput:
        """Lets the workers work until the night is over."""
        sweep = self._sweep
        self._begin_s[0] = 0.0
        for worker, begin in enumerate(self._begin_s):
            self._push(begin, worker, "take")
        while self._events and self._events[0][0] <= sweep.night_s:
            now, _, worker, what, left = heapq.heappop(self._events)
            getattr(self, f"_{what}")(now, worker, left)
        trials = max(self._finished, 1)
        ideal = sum(sweep.night_s - begin for begin in self._begin_s) / self._mean_s
        return Throughput(
            self._workers,
            self._finished,
            self._finished / ideal,
            {name: each.share_busy(sweep.night_s) for name, each in self._servers.items()},
            {name: each / trials for name, each in self._waited.items()},
            self._sampling_s / trials,
        )

    def _push(self, when: float, worker: int, what: str, left: float = 0.0) -> None:
        heapq.heappush(self._events, (when, next(self._order), worker, what, left))

    def _call(self, resource: Resource, now: float, takes: float) -> float:
        """Returns when the answer of a call is there that the worker waits for."""
        half = 0.5 * self._sweep.round_trip_s
        done = self._servers[resource].serve(now + half, takes) + half
        self._waited[resource] += done - now
        return done

    def _take(self, now: float, worker: int, _: float) -> None:
        costs = self._costs
        taken = self._call("queue", now, costs.take.at(self._there))
        proposed = costs.sample.at(self._there)
        self._sampling_s += proposed
        self._there += 1
        self._push(taken + proposed, worker, "write")

    def _write(self, now: float, worker: int, _: float) -> None:
        written = self._call("storage", now, self._costs.write.at(self._there))
        self._push(written, worker, "train", next(self._times))

    def _train(self, now: float, worker: int, left: float) -> None:
        """Trains until the next heartbeat; what goes out meanwhile is one piece of work."""
        stretch = min(left, self._spacing)
        if stretch <= 0.0:
            self._push(now, worker, "finish")
            return
        sweep, costs, there = self._sweep, self._costs, self._there
        arrives = now + 0.5 * sweep.round_trip_s
        beats = stretch / sweep.beat_every_s * costs.beat.at(there)
        share = stretch / self._mean_s
        reports = sweep.reports * share * costs.report.at(there)
        self._servers["storage"].serve(arrives, beats + reports)
        logs = stretch / sweep.log_every_s * costs.log.at(there)
        self._servers["tracking"].serve(arrives, logs)
        self._push(now + stretch, worker, "train", left - stretch)

    def _finish(self, now: float, worker: int, _: float) -> None:
        uploaded = self._call("tracking", now, self._costs.upload.at(self._there))
        # The call to the storage arrives later: it has its own place in the order of time.
        self._push(uploaded, worker, "give_back")

    def _give_back(self, now: float, worker: int, _: float) -> None:
        done = self._call("storage", now, self._costs.finish.at(self._there))
        if done <= self._sweep.night_s:
            self._finished += 1
        self._push(done, worker, "take")


def simulate(costs: Costs, sweep: Sweep, workers: Sequence[int]) -> list[Throughput]:
    """Simulates sweeps of as many workers each.

    Args:
        costs: What was measured.
        sweep: What the workers do.
        workers: Numbers of workers, such as 1, 10, 100 and 1,000.

    Returns:
        One result for each number.
    """
    return [_Night(costs, sweep, count).run() for count in workers]
