"""What was trained: drivers, steps, and where the settings differ from the defaults."""

from __future__ import annotations

from collections.abc import Sequence

from donkey_rl import configuration, setting_keys
from donkey_rl.errors import InputError
from donkey_rl.experiments import config as configs
from donkey_rl.experiments import page
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.page import Section
from donkey_rl.experiments.reporting import words
from donkey_rl.experiments.reporting.runs import ReportedRun, is_trained

AGENTS = {"sac": "soft actor-critic (SAC)", "ppo": "proximal policy optimisation (PPO)"}
ENCODERS = {
    "lane": "reads the lane ahead (lane)",
    "autoencoder": "sums up the image (autoencoder)",
    "cnn": "learned to see while driving (cnn)",
    "own": "sees by code of its trainer's own (own)",
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
    "{}, and was raced now and then to see how far it had come."
)
_USUAL_REWARD = "for its way along the road and punished for leaving it"
_OWN_REWARD = "by a rule that its trainer wrote"
_SHOWN = frozenset({"agent", "track", "seed", "steps", "vehicle", "encoder.name"})
"""Settings that are told anyway."""


def section(runs: Sequence[ReportedRun]) -> Section:
    """Returns what was trained."""
    learned = [each for each in runs if is_trained(each)]
    own = any(each.run.params.get("task.reward", "None") != "None" for each in learned)
    how = _HOW.format(_OWN_REWARD if own else _USUAL_REWARD)
    markup = page.paragraph(how) if learned else ""
    columns = [_facts(each) for each in runs]
    shared = {
        name: value
        for name, value in columns[0].items()
        if all(each[name] == value for each in columns)
    }
    markup += page.facts(shared)
    if len(runs) > 1:
        names = [name for name in columns[0] if name not in shared]
        rows = [
            (each.label, *(column[name] for name in names))
            for each, column in zip(runs, columns, strict=True)
        ]
        markup += page.table(("driver", *names), rows)
    for note in _notes(runs):
        markup += page.note(note)
    return Section("What was trained", markup + _all_settings(learned))


def _facts(each: ReportedRun) -> dict[str, str]:
    """Returns what is told of a run, by its name."""
    params = each.run.params
    planned = params.get("steps", "")
    steps = f"{each.steps:,}" if each.steps else "-"
    if planned.isdecimal() and each.run.status != "FINISHED":
        steps += f" of {int(planned):,}"
    agent, encoder = params.get("agent", "-"), params.get("encoder.name", "-")
    return {
        "run": each.run.id[:8],
        "method": AGENTS.get(agent, agent),
        "eyes": ENCODERS.get(encoder, encoder),
        "track": params.get("track", each.run.tags.get("track", "-")),
        "car": params.get("vehicle", each.run.tags.get("vehicle", "-")),
        "steps": steps,
        "seed": params.get("seed", "-"),
        "status": STATUS.get(each.run.status, each.run.status.lower()),
        "begun": words.day(each.history.began_ms),
    }


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
    # Runs of earlier versions have some settings under former names.
    now = {setting_keys.current(TrainingConfig, name): value for name, value in params.items()}
    return tuple(
        (name, value, str(defaults[name]))
        for name, value in now.items()
        if name in defaults
        and name not in _SHOWN
        and not name.startswith(other)
        and value != str(defaults[name])
    )


def _all_settings(learned: Sequence[ReportedRun]) -> str:
    """Returns the settings, once for all runs that have the same."""
    groups: dict[tuple[tuple[str, str, str], ...] | None, list[str]] = {}
    for each in learned:
        groups.setdefault(_differences(each), []).append(each.label)
    markup = ""
    for differences, labels in groups.items():
        whose = "" if len(groups) == 1 else f" of {words.listed(labels)}"
        if differences is None:
            markup += page.paragraph(f"The settings{whose} are of another version of donkey-rl.")
        elif not differences:
            markup += page.paragraph(f"The settings{whose} are the defaults.")
        else:
            count = words.counted(len(differences), "setting")
            title = f"{count}{whose} other than the default"
            table = page.table(("setting", "value", "default"), differences)
            markup += page.details(title, table)
    return markup
