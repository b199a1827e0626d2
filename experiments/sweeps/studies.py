"""Studies in Optuna: made once, joined by all others that want the same."""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, WilcoxonPruner
from optuna.samplers import TPESampler

from donkey_rl import configuration, search_space
from donkey_rl.errors import InputError
from donkey_rl.experiments import beginning, mlflow_store, stored_runs, tracking
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.experiments.sweeps.storage import SharedStorage
from donkey_rl.search_space import Choice, Float, Parameter

SWEEP_TAG = "donkey_rl.sweep"
"""Tag of the run that a study's runs belong to: the study's own id, which no other has."""

KIND = "sweep"

_PLAN, _ID = "donkey_rl.plan", "donkey_rl.id"

_STARTUP_TRIALS = 8
"""Trials drawn at random before the sampler learns from them; half an hour has some thirty."""

_CERTAINTY = 0.05
"""Largest p of the Wilcoxon test with which a trial is given up."""

_MOST_NAMED = 4


def join(plan: SweepPlan, storage: SharedStorage) -> optuna.Study:
    """Opens the study of a sweep, or makes it; its first trial is what the recipe says.

    Raises:
        InputError: There is a study of this name that is another.
        StorageError: The storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage.exclusive() as check:
        study = optuna.create_study(
            storage=storage,
            study_name=plan.study,
            direction="maximize",
            load_if_exists=True,
            sampler=TPESampler(n_startup_trials=_STARTUP_TRIALS),
            pruner=_pruner(plan),
        )
        if _PLAN in study.user_attrs:
            _compare(plan.study, study.user_attrs[_PLAN], plan.identity())
        elif study.get_trials(deepcopy=False):
            raise InputError(
                f"The study '{plan.study}' is there and was not made by this command. Name "
                "another one with --study."
            )
        else:
            check()
            study.set_user_attr(_ID, uuid.uuid4().hex)
            study.set_user_attr(_PLAN, plan.identity())
        if not study.get_trials(deepcopy=False):
            check()
            study.enqueue_trial(own_values(plan))
        return study


def own_values(plan: SweepPlan) -> dict[str, Any]:
    """Returns what the sweep starts from, as a trial stores it."""
    own = {key: search_space.value_at(plan.config, key) for key in plan.space}
    return {
        key: search_space.label(value) if isinstance(plan.space[key], Choice) else value
        for key, value in own.items()
    }


def suggest(trial: optuna.Trial, space: Mapping[str, Parameter]) -> dict[str, Any]:
    """Returns what a trial is to try, by dotted key."""
    return {key: _suggest(trial, key, parameter) for key, parameter in space.items()}


def _suggest(trial: optuna.Trial, key: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Float):
        return trial.suggest_float(key, parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Choice):
        found = trial.suggest_categorical(key, parameter.labels)
        return parameter.value_of(found)
    return trial.suggest_int(key, parameter.low, parameter.high, log=parameter.log)


def run_of(study: optuna.Study, storage: SharedStorage, plan: SweepPlan) -> str:
    """Returns the id of the run that a study's runs belong to, and begins it where there is none.

    Each store of runs has one: two machines may share a study and not a tracking server.

    Raises:
        StorageError: The store of runs cannot be read or written.
    """
    own = study.user_attrs[_ID]
    # What takes long, the first time, must not be in the section.
    mlflow_store.experiment_id(mlflow_store.client())
    with storage.exclusive() as check:
        found = stored_runs.search(f"tags.`{SWEEP_TAG}` = '{own}' AND tags.kind = '{KIND}'", 1)
        if found:
            return found[0].id
        check()
        begun = tracking.start(
            f"sweep {plan.study}",
            params=configs.flat(plan.config.model_dump(mode="json")),
            tags={
                SWEEP_TAG: own,
                "kind": KIND,
                "agent": plan.config.agent,
                "track": ",".join(plan.tracks),
            },
        )
        with begun:
            return begun.id


def _pruner(plan: SweepPlan) -> BasePruner:
    if plan.pruner == "wilcoxon":
        with warnings.catch_warnings():
            # It is said to be experimental.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=_CERTAINTY)
    if plan.pruner == "hyperband":
        steps = plan.config.steps * len(plan.cells())
        return HyperbandPruner(min_resource=max(1, steps // 9), max_resource=steps)
    return NopPruner()


_AS_BEGUN = "Type the command that it was begun with"
_PUT_BACK = "Put the old file back"
_REMEDIES = (
    ("version", "Install that version of donkey-rl"),
    ("track_file", _PUT_BACK),
    ("reward_file", _PUT_BACK),
    ("encoder_file", _PUT_BACK),
    ("data.", "Put back what it was begun with"),
)
"""What mends a difference, by how its key begins."""


def _compare(name: str, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to join a study that tries something else.

    Raises:
        InputError: With what differs.
    """
    before, now = configs.flat(dict(stored)), configs.flat(json.loads(json.dumps(wanted)))
    usual = _usual(now)
    keys = [
        key
        for key in before | now
        if before.get(key) != now.get(key)
        # Begun before there was such a setting.
        and not (key in usual and key not in before and now.get(key) == usual[key])
        and not (key.startswith("data.") and beginning.is_same(str(before.get(key)), now.get(key)))
    ]
    different = [
        f"{key.removeprefix('settings.')} {_shown(before.get(key))}, not {_shown(now.get(key))}"
        for key in keys
    ]
    if different:
        remedy = next((r for begins, r in _REMEDIES if keys[0].startswith(begins)), _AS_BEGUN)
        more = len(different) - _MOST_NAMED
        tail = f" and {more} more" if more > 0 else ""
        raise InputError(
            f"The study '{name}' is another: it has {'; '.join(different[:_MOST_NAMED])}{tail}. "
            f"{remedy}, or name another one with --study."
        )


def _usual(now: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the default settings of the agent and the encoder of a study, as it holds them."""
    keys = "agent", "encoder.name"
    named = {key: now[f"settings.{key}"] for key in keys if f"settings.{key}" in now}
    usual = configuration.with_values(TrainingConfig(), named).model_dump(mode="json")
    return configs.flat(usual, "settings.")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
