"""What a rehearsal has come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from donkey_rl.configuration import Config
from donkey_rl.envs.serving.race.records import NO_LAP_S, Evening, Outcome
from donkey_rl.race_server.rehearsal.checks import Return, Violation
from donkey_rl.race_server.rehearsal.faults import Injected


class Standing(Config):
    """One racer in the final order.

    Attributes:
        name: Of the racer.
        best_lap_s: Its best lap in the heats (s), None without one.
        laps: Laps in the heats.
        dq: Whether it was disqualified in one of them, or never qualified.
        ours: Whether it is our car.
    """

    name: str
    best_lap_s: float | None
    laps: int
    dq: bool
    ours: bool = False


class FaultSummary(Config):
    """What came of all faults of a kind.

    Attributes:
        injected: How many there were.
        moving: After how many the car was seen moving again.
        connected: After how many it had no car to move, and was connected.
        slowest_back_s: The longest time to that (s), None if there was none.
        violations: Rules broken after one of them, before the next fault.
    """

    injected: int
    moving: int
    connected: int
    slowest_back_s: float | None
    violations: int


class Broken(Config):
    """A rule that was broken.

    Attributes:
        evening: Which evening, from 1.
        at_s: Since the evening began (s).
        rule: Which rule.
        text: How.
        after: The fault before it, empty for none.
    """

    evening: int
    at_s: float
    rule: str
    text: str
    after: str = ""


class EveningResult(Config):
    """What a rehearsal has come to.

    Attributes:
        standings: The final order of the last evening.
        faults: By kind.
        disconnects: How often our car lost its connection, by its own count.
        latency_ms: Our car's, from a frame to its command: `p50`, `p95`, `p99`.
        laps: Our car's, all evenings.
        frames: Frames that our car saw.
        violations: Rules that were broken.
        evenings: How many it took.
        wall_s: How long it took (s).
        folder: Where everything of it is.
        records: Folders of our car's records.
    """

    standings: tuple[Standing, ...]
    faults: Mapping[str, FaultSummary]
    disconnects: int
    latency_ms: Mapping[str, float]
    laps: int
    frames: int
    violations: tuple[Broken, ...]
    evenings: int
    wall_s: float
    folder: Path
    records: tuple[Path, ...]


def standings(evening: Evening, ours: str = "") -> tuple[Standing, ...]:
    """Returns the final order, those at the end who never qualified.

    Args:
        evening: As the results file tells; before its end, the order so far.
        ours: Identity of our car.
    """
    order = evening.standings or evening.qualified
    left = [each.identity for each in evening.competitors if each.identity not in order]
    found = []
    for who in [*order, *left]:
        outcomes = [heat.last[who] for heat in evening.heats if who in heat.last]
        laps = [lap for outcome in outcomes for lap in outcome.laps_s]
        out = any(outcome.disqualified is not None for outcome in outcomes) or who in left
        name = evening.name_of(who)
        best = min(laps, default=None)
        found.append(
            Standing(name=name, best_lap_s=best, laps=len(laps), dq=out, ours=who == ours)
        )
    return tuple(found)


def best_so_far(evening: Evening) -> str:
    """Returns the best lap of the evening and whose it is, for the progress."""
    best, name = NO_LAP_S, ""
    for each in evening.competitors:
        runs: list[Outcome] = list(each.attempts)
        runs += [heat.last[each.identity] for heat in evening.heats if each.identity in heat.last]
        for lap in [*each.practice_s, *(run.best_s for run in runs)]:
            if lap < best:
                best, name = lap, each.name
    return f"{best:.2f} s by {name}" if name else "none yet"


def summary(
    returns: Sequence[Return], violations: Iterable[Violation], injected: Sequence[Injected]
) -> dict[str, FaultSummary]:
    """Returns what came of the faults, by their kind."""
    broken = [each.after for each in violations]
    found: dict[str, FaultSummary] = {}
    for kind in sorted({each.fault.kind for each in injected}):
        own = [each for each in returns if each.injected.fault.kind == kind]
        times = [each.back_s for each in own if each.back_s is not None]
        found[kind] = FaultSummary(
            injected=sum(each.fault.kind == kind for each in injected),
            moving=sum(each.how == "moving" for each in own),
            connected=sum(each.how == "connected" for each in own),
            slowest_back_s=max(times, default=None),
            violations=sum(each.partition(" (")[0] == kind for each in broken),
        )
    return found
