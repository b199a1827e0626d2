"""What was trained: drivers, steps, and where the settings differ from the defaults."""

from __future__ import annotations

from collections.abc import Sequence

from donkey_rl import configuration
from donkey_rl.errors import InputError
from donkey_rl.experiments import config as configs
from donkey_rl.experiments import page
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.reporting import words
from donkey_rl.experiments.reporting.runs import ReportedRun

AGENTS = {"sac": "soft actor-critic (SAC)", "ppo": "proximal policy optimisation (PPO)"}
ENCODERS = {
    "lane": "reads the lane ahead, as the simulator labels it",
    "autoencoder": "learned to draw the image again, without labels",
    "cnn": "learns to see together with the driving",
}
STATUS = {
    "FINISHED": "finished",
    "KILLED": "stopped early",
    "FAILED": "failed",
    "RUNNING": "still running",
}
_HOW = (
    "A driver is a small neural network. It sees what a race gives: the image of the camera on "
    "the car, the speed, the inertial sensors and its own last commands. It answers with steering "
    "and throttle, twenty times a second. It learned by trial and error: it drove, was rewarded "
    "for its way along the road and punished for leaving it, and was raced now and then to see "
    "how far it had come."
)
_SHOWN = frozenset({"agent", "track", "seed", "steps", "vehicle", "encoder.name"})
"""Settings that have a column of their own."""

_FOLDED_FROM = 13


def section(runs: Sequence[ReportedRun]) -> Section:
    """Returns what was trained."""
    learned = [each for each in runs if "agent" in each.run.params]
    headers = ("driver", "run", "method", "sees by", "track", "car", "steps", "seed", "", "begun")
    markup = page.paragraph(_HOW) if learned else ""
    markup += page.table(headers, [_row(each) for each in runs])
    for note in _notes(runs):
        markup += page.note(note)
    seen = {
        each.run.params["encoder.name"] for each in learned if each.run.params.get("encoder.name")
    }
    markup += page.bullets(f"{name}: {ENCODERS[name]}" for name in ENCODERS if name in seen)
    shared = {_differences(each) for each in learned}
    if len(shared) == 1 and len(learned) > 1:
        markup += _settings("of all runs", shared.pop())
    else:
        for each in learned:
            markup += _settings(f"of {each.label}" if len(runs) > 1 else "", _differences(each))
    return Section("What was trained", markup)


def _row(each: ReportedRun) -> tuple[str, ...]:
    params = each.run.params
    planned = params.get("steps", "")
    steps = f"{each.steps:,}" if each.steps else "-"
    if planned.isdecimal() and each.run.status != "FINISHED":
        steps += f" of {int(planned):,}"
    return (
        each.label,
        each.run.id[:8],
        params.get("agent", "-"),
        params.get("encoder.name", "-"),
        params.get("track", "-"),
        params.get("vehicle", "-"),
        steps,
        params.get("seed", "-"),
        STATUS.get(each.run.status, each.run.status.lower()),
        words.day(each.history.began_ms),
    )


def _notes(runs: Sequence[ReportedRun]) -> list[str]:
    """Returns what a reader must know of runs that did not come to their end."""
    told = {
        "RUNNING": "is still running: its figures are those so far.",
        "FAILED": "ended with an error: its figures are those up to then.",
        "KILLED": "was stopped before its last step; the best driver until then was kept.",
    }
    return [f"{each.label} {told[each.run.status]}" for each in runs if each.run.status in told]


def _differences(each: ReportedRun) -> tuple[tuple[str, str, str], ...] | None:
    """Returns setting, value and default where the two differ, None if defaults are not known."""
    params = each.run.params
    chosen = {
        "agent": params["agent"],
        "vehicle": params.get("vehicle", TrainingConfig().vehicle),
        "encoder": {"name": params.get("encoder.name", TrainingConfig().encoder.name)},
    }
    try:
        defaults = configs.flat(
            configuration.validate(TrainingConfig, chosen).model_dump(mode="json")
        )
    except InputError:
        # An agent, a car or an encoder of another version of this package.
        return None
    other = {"sac": "ppo.", "ppo": "sac."}[params["agent"]]
    return tuple(
        (name, value, str(defaults[name]))
        for name, value in params.items()
        if name in defaults
        and name not in _SHOWN
        and not name.startswith(other)
        and value != str(defaults[name])
    )


def _settings(whose: str, differences: tuple[tuple[str, str, str], ...] | None) -> str:
    whose = f" {whose}" if whose else ""
    if differences is None:
        return page.paragraph(f"The settings{whose} are of another version of donkey-rl.")
    if not differences:
        return page.paragraph(f"The settings{whose} are the defaults.")
    count = words.counted(len(differences), "setting")
    table = page.table(("setting", "value", "default"), differences)
    title = f"{count}{whose} differ from the defaults"
    if len(differences) == 1:
        title = f"1 setting{whose} differs from the default"
    if len(differences) < _FOLDED_FROM:
        return page.paragraph(f"{title}:") + table
    return page.details(title, table)
