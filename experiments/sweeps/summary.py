"""What a sweep reports at its end, and what it leaves in its run."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import optuna
from pydantic import Field

from donkey_rl import moving, search_space, yaml_dialect
from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.sweeps import addresses, pictures, results
from donkey_rl.experiments.sweeps.plan import SweepPlan
from donkey_rl.experiments.sweeps.results import Best, Counts

_FOLDER, _SETTINGS = "sweep", "best.yaml"


class SweepResult(Config):
    """What `donkey-rl sweep` reports.

    Attributes:
        study: Its name.
        agent: The algorithm.
        tracks: Where it trained and raced.
        run_id: The run that all others belong to.
        trials: How many there are.
        best: The best of them, None before the first is complete.
        recipe: Score of the first trial, which is the recipe itself.
        recipe_params: What it has of what is varied, by dotted key.
        recipe_file: The best settings as a recipe, None before the first trial is complete.
        importances: Share of the differences in score by setting, None with too few trials.
        files: Pictures and the best settings, by what they show, inside the run.
        stopped: Whether Ctrl-C ended it.
        dashboard: What to type to see the study's pages.
        ensemble: The best committee of its drivers, if one was wanted.
    """

    study: str
    agent: str
    tracks: tuple[str, ...]
    run_id: str
    trials: Counts
    best: Best | None = None
    recipe: float | None = None
    recipe_params: dict[str, Any]
    recipe_file: str | None = None
    importances: dict[str, float] | None = None
    files: dict[str, str] = Field(default_factory=dict)
    stopped: bool = False
    dashboard: str = ""
    ensemble: dict[str, Any] | None = None


def summarise(study: optuna.Study, plan: SweepPlan, run: Run) -> SweepResult:
    """Returns what a study came to so far, and puts pictures and the best settings into its run.

    Args:
        study: The study.
        plan: What it varies.
        run: The run that its runs belong to.

    Raises:
        StorageError: Something could not be written.
    """
    trials = study.get_trials(deepcopy=False)
    result = SweepResult(
        study=plan.study,
        agent=plan.config.agent,
        tracks=plan.tracks,
        run_id=run.id,
        trials=results.count(trials),
        best=results.best_of(trials, plan),
        recipe=results.recipe_score(trials),
        recipe_params={key: search_space.value_at(plan.config, key) for key in plan.space},
        importances=results.importances(study),
    )
    counts = {f"sweep/{state}": float(n) for state, n in result.trials.model_dump().items()}
    run.log_metrics(counts, len(trials))
    if result.best is None:
        return result
    run.log_metrics({"sweep/best_score": result.best.value}, len(trials))
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name) / _FOLDER
        folder.mkdir()
        files = pictures.draw(trials, plan, result.importances, folder)
        recipe = yaml_dialect.dumped(results.recipe_of(plan, result.best.params))
        (folder / _SETTINGS).write_text(recipe, encoding="utf-8")
        run.log_artifact(folder)
    files["best settings"] = _SETTINGS
    kept = pathlib.Path(addresses.FOLDER) / f"{plan.study}.yaml"
    with folders.writing(kept):
        moving.write(kept, recipe)
    return result.model_copy(
        update={
            "files": {what: f"{_FOLDER}/{name}" for what, name in files.items()},
            "recipe_file": str(kept),
        }
    )
