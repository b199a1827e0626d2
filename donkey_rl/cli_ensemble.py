"""The command `donkey-rl ensemble`."""

from __future__ import annotations

from typing import Annotated

import typer

from donkey_rl.cli_output import JsonOption, at_work, print_json
from donkey_rl.errors import InputError

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl ensemble 3f2a 81c0 77de --name night-shift")
def ensemble(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Runs (ids, the starts of them, or names), folders."),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the ensemble's run.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="W,W", help="How much each counts. Default: alike.")
    ] = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Keep only those that race best together, and say whether that beats the best "
            "of them alone.",
        ),
    ] = False,
    races: Annotated[
        int, typer.Option(min=2, help="With --choose: races to judge by, from other starts.")
    ] = 30,
    as_json: JsonOption = False,
) -> None:
    """Make one driver of several: the mean of their actions.

    It is kept as a run of its own, which evaluate, compare and leaderboard take
    as any other. The members see the same and drive the same car.
    """
    if choose and weights is not None:
        raise InputError("--choose finds the weights. Leave --weights out, or --choose.")
    given = _numbers(weights) if weights is not None else None
    with at_work(as_json) as progress:
        from donkey_rl.experiments import ensembles

        if choose:
            from donkey_rl.experiments.sweeps import committee

            found = committee.choose(runs, committee.CommitteePlan(judged_races=races), progress)
            made = committee.keep(found, name)
            result = {**made.model_dump(mode="json"), "committee": found.as_json()}
        else:
            result = ensembles.make(runs, given, name).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import result_tables

    result_tables.show_ensemble(result)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--weights are numbers with commas, such as 2,1,1. Received: '{text}'."
        ) from None
