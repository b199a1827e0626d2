"""What a table shows of trainings."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from donkey_rl.experiments.proof import cells
from donkey_rl.experiments.proof.cells import Rows


def of_seed(seed: int) -> Callable[[Mapping[str, Any]], Rows]:
    """Returns what reads one row from `donkey-rl train --json`.

    Args:
        seed: The training's.
    """

    def read(answer: Mapping[str, Any]) -> Rows:
        return [
            {
                "seed": str(seed),
                "first clean lap (s)": cells.number(answer["first_clean_lap_wall_s"], 1),
                "environment steps to it": cells.number(answer["first_clean_lap_steps"]),
                "whole run (s)": cells.number(answer["wall_s"], 1),
                "processor time (s)": cells.number(answer["cpu_s"], 1),
                "best lap of the finished driver (s)": cells.number(answer["best_lap_s"], 2),
            }
        ]

    return read


def tuning(answer: Mapping[str, Any]) -> Rows:
    """Returns a row of how soon a training came to a clean lap, from `donkey-rl train --json`."""
    steps, seconds = answer["first_clean_lap_steps"], answer["first_clean_lap_wall_s"]
    if seconds is None:
        found = f"tuned for {answer['wall_s'] / 60.0:.1f} min: no clean lap"
    else:
        found = f"tuned: first clean lap after {seconds / 60.0:.1f} min, {steps:,} steps"
    late = f"{answer['missed_deadlines']:,} of {answer['steps']:,} frames missed"
    return [{"what": f"{found}; {late}", "best lap (s)": cells.number(answer["best_lap_s"], 2)}]


def agents(answer: Mapping[str, Any]) -> Rows:
    """Returns a row for each agent, from `donkey-rl bench --part driving`: medians over seeds."""
    by_party: dict[str, list[Mapping[str, Any]]] = {}
    for run in sorted(answer["driving"], key=operator.itemgetter("seed")):
        by_party.setdefault(run["party"], []).append(run)
    return [_agent(party, runs) for party, runs in by_party.items()]


def _agent(party: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the row of an agent.

    Args:
        party: Its name.
        runs: Its trainings, by seed.
    """

    def median(name: str, digits: int = 0) -> str:
        return cells.number(cells.middle([run[name] for run in runs]), digits)

    return {
        "agent, encoder": party,
        "environment steps in the time": median("steps"),
        "first clean lap (s)": median("first_clean_lap_s", 1),
        "steps to it": median("first_clean_lap_steps"),
        "races with three clean laps, by seed": ", ".join(str(run["races_clean"]) for run in runs),
        "best lap (s)": median("best_lap_s", 2),
        "mean change of the steering command": median("steering_change", 3),
    }
