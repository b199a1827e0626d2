"""The command `donkey-rl sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_completion import one_of
from donkey_rl.cli_output import (
    AddressOption,
    JsonOption,
    TracksOption,
    at_work,
    loading,
    print_json,
)

if TYPE_CHECKING:
    from donkey_rl.experiments.sweeps.plan import SweepPlan

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl sweep --agent sac --study night --workers 2 --minutes 30")
def sweep(
    study: Annotated[str, typer.Option(help="Name of the study; the same name joins it.")],
    agent: Annotated[
        str | None,
        typer.Option(help="The algorithm: sac or ppo.", autocompletion=one_of("sac", "ppo")),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study, all together.")] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the study is: a .journal file, or postgresql://USER@HOST/DATABASE for "
            "several machines. Default: sweeps/STUDY.journal.",
        ),
    ] = None,
    track: TracksOption = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each training, all cars together.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of a trial on each track.")] = 2,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="What the first trial is: a recipe's name or YAML file.",
            autocompletion=cli_completion.recipe,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting of all trials; may be repeated."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A YAML file of what to vary, in place of the usual."),
    ] = None,
    pruner: Annotated[
        str,
        typer.Option(
            help="What gives up a trial early: wilcoxon (by its races), hyperband (while it "
            "learns) or none.",
            autocompletion=one_of("wilcoxon", "hyperband", "none"),
        ),
    ] = "wilcoxon",
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Begin no trial after so long.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What starts the workers: local or ray.", autocompletion=one_of("local", "ray")
        ),
    ] = "local",
    address: AddressOption = None,
    optimize_ensemble: Annotated[
        bool,
        typer.Option(
            "--optimize-ensemble", help="At the end, make the best committee of the drivers."
        ),
    ] = False,
    show_space: Annotated[
        bool, typer.Option("--show-space", help="Show what would be varied, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Search for better settings: train and race many trials, and learn from their scores.

    The first trial is the recipe itself. Type the same command again, here or on
    another machine that reaches the storage, to join or to go on. Ctrl-C hands
    running trials back with their checkpoints.
    """
    from donkey_rl import configuration
    from donkey_rl.experiments.sweeps import plan as plans

    values: dict[str, Any] = {
        "study": study, "agent": agent, "track": track, "steps": steps, "seeds": seeds,
        "recipe": recipe, "settings": setting or (), "space": space, "pruner": pruner,
    }  # fmt: skip
    plan = plans.make(configuration.validate(plans.SweepRequest, values))
    if show_space:
        _show_space(plan, as_json)
        return
    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments.sweeps import command

        given = {
            "storage": storage, "trials": trials, "workers": workers, "minutes": minutes,
            "engine": engine, "address": address, "ensemble": optimize_ensemble,
        }  # fmt: skip
        work = configuration.validate(command.Work, given)
        result = command.sweep(plan, work, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import result_tables, sweep_tables

    sweep_tables.show(result)
    if result["ensemble"] is not None:
        result_tables.show_ensemble(result["ensemble"])


def _show_space(plan: SweepPlan, as_json: bool) -> None:
    """Prints what a sweep varies, as a file for `--space` holds it."""
    space = {key: each.model_dump(mode="json") for key, each in plan.space.items()}
    if as_json:
        print_json(space)
        return
    import json

    for key, entry in space.items():
        inside = ", ".join(f"{name}: {json.dumps(value)}" for name, value in entry.items())
        typer.echo(f"{key}: {{{inside}}}")
