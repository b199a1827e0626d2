"""Who races whom, and what comes of it: pairs, byes, rankings and the final order."""

from __future__ import annotations

from collections.abc import Sequence

from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import NO_LAP_S, Evening, Heat, Outcome

_SEMIFINAL = (3, 4)
"""With so many racers in a round, its losers are in the semifinal."""


def qualified(evening: Evening) -> list[str]:
    """Returns who has a time in qualifying, the fastest first."""
    timed = [each for each in evening.competitors if each.qualifying_s < NO_LAP_S]
    return [each.identity for each in sorted(timed, key=lambda each: each.qualifying_s)]


def pairs(racers: Sequence[str]) -> list[list[str]]:
    """Returns best against worst, second against second-worst; an odd first one is alone.

    >>> pairs(["a", "b", "c", "d", "e"])
    [['a'], ['b', 'e'], ['c', 'd']]
    """
    first, rest = list(racers[: len(racers) % 2]), list(racers[len(racers) % 2 :])
    half = len(rest) // 2
    drawn = [[rest[k], rest[-1 - k]] for k in range(half)]
    return [first, *drawn] if first else drawn


def stage_1(evening: Evening) -> list[Heat]:
    """Returns the heats of stage 1; the fastest of an odd count drives alone."""
    return [Heat(stage=1, racers=racers) for racers in pairs(evening.qualified)]


def ladder_round(racers: Sequence[str], number: int) -> list[Heat]:
    """Returns the heats of a round of the ladder; the first of an odd count has a bye.

    Args:
        racers: Who is left, by their seeds.
        number: Of the round, from 1.
    """
    heats = []
    for drawn in pairs(racers):
        bye = len(drawn) == 1
        winner = drawn[0] if bye else None
        heats.append(Heat(stage=2, round=number, racers=drawn, bye=bye, winner=winner))
    return heats


def is_void(run: dict[str, Outcome]) -> bool:
    """Whether all were disqualified without a lap; a run to which nobody came is none."""
    came = [each for each in run.values() if each.disqualified != "absent"]
    lost = all(each.disqualified is not None and not each.laps_s for each in run.values())
    return bool(came) and lost


def is_run_again(heat: Heat, rules: RaceRules) -> bool:
    """Whether the last run of a heat is to be repeated."""
    limit = rules.restarts if heat.stage == 1 else rules.ladder_restarts
    return is_void(heat.last) and (limit is None or len(heat.runs) <= limit)


def result_s(heat: Heat, racer: str) -> float:
    """Returns a racer's result in a heat (s), `NO_LAP_S` where there is none.

    It is the best lap. A disqualified racer keeps it in the ladder, but not in stage 1.
    """
    outcome = heat.last.get(racer)
    if outcome is None or (heat.stage == 1 and outcome.disqualified is not None):
        return NO_LAP_S
    return outcome.best_s


def faster(heat: Heat) -> str:
    """Returns the winner of a heat of the ladder; of equals, the better seed."""
    return min(heat.racers, key=lambda racer: result_s(heat, racer))


def stage_1_ranking(evening: Evening) -> list[str]:
    """Returns the racers of stage 1 by their best laps; equals stay in the order of qualifying."""
    results = {
        racer: result_s(heat, racer)
        for heat in evening.heats
        if heat.stage == 1
        for racer in heat.racers
    }
    return sorted(evening.qualified, key=lambda racer: results.get(racer, NO_LAP_S))


def left_in_ladder(evening: Evening, number: int) -> list[str]:
    """Returns who has won in a round of the ladder, by their seeds; all seeds in round 0."""
    if number == 0:
        return list(evening.seeds)
    winners = {each.winner for each in _of_round(evening, number)}
    return [racer for racer in evening.seeds if racer in winners]


def standings(evening: Evening) -> list[str]:
    """Returns the final order.

    The winner of the final, then the losers of each round from the final back, the faster ones
    first; so the third is the faster loser of the semifinals. Who was not in the ladder follows by
    stage 1.
    """
    last = max((each.round for each in evening.heats), default=0)
    order = left_in_ladder(evening, last)
    for number in range(last, 0, -1):
        losers = [
            (result_s(heat, racer), evening.seeds.index(racer), racer)
            for heat in _of_round(evening, number)
            for racer in heat.racers
            if racer != heat.winner
        ]
        order += [racer for _, _, racer in sorted(losers)]
    return order + [racer for racer in stage_1_ranking(evening) if racer not in order]


def title(evening: Evening, heat: Heat) -> str:
    """Returns what a heat is called."""
    who = " against ".join(evening.name_of(racer) for racer in heat.racers)
    if heat.stage == 1:
        return f"Stage 1: {who}{' alone' if len(heat.racers) == 1 else ''}"
    racing = sum(len(each.racers) for each in _of_round(evening, heat.round))
    name = "Final" if racing == 2 else "Semifinal" if racing in _SEMIFINAL else "Quarterfinal"
    return f"{name}: {who}"


def _of_round(evening: Evening, number: int) -> list[Heat]:
    return [each for each in evening.heats if each.stage == 2 and each.round == number]
