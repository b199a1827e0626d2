"""The commands that make drivers: `train`, and `recipes`, which lists what it can be told."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_completion import one_of
from donkey_rl.cli_output import (
    AddressOption,
    JsonOption,
    RecipeOption,
    SettingOption,
    SimulatorOption,
    TracksOption,
    at_work,
    loading,
    print_json,
)
from donkey_rl.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from donkey_rl.experiments.config import TrainingConfig
    from donkey_rl.experiments.membership import Membership
    from donkey_rl.experiments.progress import ProgressDisplay

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl train --agent sac --track warehouse --set sac.gamma=0.98")
def train(
    agent: Annotated[
        str | None,
        typer.Option(help="The algorithm: sac or ppo.", autocompletion=one_of("sac", "ppo")),
    ] = None,
    track: TracksOption = None,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Steps to train, all cars together; 0 for lessons alone."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same run.")] = None,
    recipe: RecipeOption = None,
    setting: SettingOption = None,
    simulator: SimulatorOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run that ended early, from its last checkpoint.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="Make a new run with the configuration of this one; options and --set change it.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    show_config: Annotated[
        bool,
        typer.Option(
            "--show-config", help="Print the whole configuration, a recipe by itself, and end."
        ),
    ] = False,
    collectors: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes of a Ray cluster that drive the cars for this learner."
        ),
    ] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a driver, race it, and keep the run in MLflow.

    Ctrl-C ends the training early: the best driver so far is kept, the run is
    marked as stopped (KILLED in MLflow), and the exit code is 0. --resume goes on
    with such a run, or with one that was killed, with the settings that it has.
    --from-run trains a run of its own with the settings of another.
    """
    options = {
        "agent": agent, "track": track, "steps": steps, "seed": seed, "simulator": simulator,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    changes = [f"{name}={value}" for name, value in given.items()] + (setting or [])
    _check_one_source(recipe, resume, from_run)
    if from_run is not None:
        from donkey_rl.experiments import reproduction

        again = reproduction.find(from_run, changes, collectors=collectors)
        config = again.config
    elif resume is not None:
        from donkey_rl.experiments import resuming

        # Also where it is found again: a run that cannot go on is refused before seconds of work.
        config = resuming.find(resume, changes, collectors=collectors).config
    else:
        config = _from_recipe(recipe, given, setting or ())
    if show_config:
        _show_config(config, as_json)
        return
    if address is not None and collectors is None:
        raise InputError("--address names a cluster for collectors. Give --collectors N as well.")
    with (
        at_work(as_json) as progress,
        _collecting(config, collectors, address, progress) as member,
    ):
        with loading(progress):
            from donkey_rl.experiments import training

        if resume is not None:
            done = training.resume(resume, changes, progress, member)
        elif from_run is not None:
            done = again.train(progress, member)
        else:
            done = training.train(config, progress, member)
        result = done.model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import tables

    tables.show_training(result)


@app.command(epilog="Example: donkey-rl recipes --agent ppo")
def recipes(
    agent: Annotated[
        str | None,
        typer.Option(help="Only those of this algorithm.", autocompletion=one_of("sac", "ppo")),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes that come with the package, for `train --recipe`."""
    from donkey_rl import configuration
    from donkey_rl.experiments.config import AGENTS

    if agent not in (None, *AGENTS):
        raise UnknownNameError("agent", str(agent), AGENTS)
    rows = [
        {
            "name": name,
            "agent": configuration.read_recipe(name)["agent"],
            "purpose": configuration.recipe_purpose(name),
            "also": ", ".join(configuration.aliases(name)) or None,
        }
        for name in configuration.recipes()
    ]
    rows = [row for row in rows if agent in (None, row["agent"])]
    if as_json:
        print_json({"recipes": rows})
        return
    from donkey_rl import tables

    tables.show_recipes(rows)


def _collecting(
    config: TrainingConfig, collectors: int | None, address: str | None, progress: ProgressDisplay
) -> AbstractContextManager[Membership]:
    """Returns what a training is told of where its cars drive."""
    from donkey_rl.experiments.membership import ALONE

    if collectors is None:
        return contextlib.nullcontext(ALONE)
    from donkey_rl.experiments.cluster import rollouts

    # Before a cluster is waited for and an encoder trained.
    rollouts.check(config, collectors)
    return rollouts.collecting(address, collectors, progress)


def _check_one_source(recipe: str | None, resume: str | None, from_run: str | None) -> None:
    """Refuses more than one origin of the configuration."""
    if resume is not None and from_run is not None:
        raise InputError(
            "--resume goes on with a run, --from-run starts another with its settings. "
            "Received: both. Leave one out."
        )
    if recipe is not None and resume is not None:
        raise InputError("A resumed run has its own settings. Leave --recipe out, or --resume.")
    if recipe is not None and from_run is not None:
        raise InputError(
            "--from-run brings all settings of its run. Leave --recipe out, or --from-run."
        )


def _from_recipe(
    recipe: str | None, given: Mapping[str, object], settings: Sequence[str]
) -> TrainingConfig:
    """Returns the defaults, a recipe over them, then options, then settings."""
    from donkey_rl import configuration
    from donkey_rl.experiments.config import TrainingConfig

    agent = given.get("agent")
    wanted = agent if isinstance(agent, str) else None
    mapping = configuration.read_recipe(recipe, wanted) if recipe else {}
    return configuration.layered(TrainingConfig, [mapping, given], settings)


def _show_config(config: TrainingConfig, as_json: bool) -> None:
    if as_json:
        print_json(config.model_dump(mode="json"))
        return
    from donkey_rl import configuration

    text = configuration.written(config)
    # Redirected into a file, it is read again as a recipe.
    typer.echo(text if sys.stdout.isatty() else text.encode(), nl=False)
