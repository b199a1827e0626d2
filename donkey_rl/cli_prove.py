"""The command `donkey-rl prove`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import JsonOption, at_work, print_json

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl prove speed link --into docs/benchmarks.md")
def prove(
    table: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TABLE",
            help="Of docs/benchmarks.md: speed, first_lap, thrifty, pixels, agents, "
            "expert, specialists, latency, generalist, transfer, ensemble, exports, racing, soak, "
            "link, evaluation, sweep or logging. Default: all.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where rows and tables are kept.")
    ] = Path("proof"),
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Put each table, once it is whole, into this page of Markdown, between the lines "
            "'<!-- prove TABLE -->' and '<!-- end -->'.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Measure this driver in the tables generalist, latency, evaluation, exports and "
            "transfer; by default each trains its own.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes on this machine: so many commands of expert, specialists and "
            "latency at once; figures of the others need the machine alone.",
        ),
    ] = 1,
    races: Annotated[
        int, typer.Option(min=2, max=1000, help="Races of a driver under each condition.")
    ] = 30,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the trainings; the first, where there are several.")
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="Of first_lap, thrifty, pixels and agents: trainings of each."
        ),
    ] = 3,
    generalist_minutes: Annotated[
        float, typer.Option("--generalist-minutes", min=0.1, help="Training of the generalist.")
    ] = 60.0,
    specialist_minutes: Annotated[
        float, typer.Option("--specialist-minutes", min=0.1, help="Training of each other one.")
    ] = 30.0,
    tuning_minutes: Annotated[
        float, typer.Option("--tuning-minutes", min=0.1, help="Tuning over TCP, real time.")
    ] = 20.0,
    as_json: JsonOption = False,
) -> None:
    """Make the tables of the benchmarks: measure, train, race, write them as Markdown.

    Minutes to hours each, as docs/benchmarks.md says. Every finished command is
    kept: the same command goes on where it was interrupted, and does again what
    another version, recipe or default setting has done.
    """
    with at_work(as_json) as progress:
        from donkey_rl import configuration
        from donkey_rl.experiments.proof import running, tables

        values: dict[str, Any] = {
            "tables": tuple(table or tables.TABLES),
            "folder": out,
            "run": run,
            "workers": workers,
            "races": races,
            "seed": seed,
            "seeds": seeds,
            "generalist_minutes": generalist_minutes,
            "specialist_minutes": specialist_minutes,
            "tuning_minutes": tuning_minutes,
        }
        plan = configuration.validate(tables.ProofPlan, values)
        made = [each.model_dump(mode="json") for each in running.prove(plan, progress, into)]
    if as_json:
        print_json({"tables": made})
        return
    from donkey_rl import terminal

    console = terminal.console()
    for each in made:
        heads = tuple(dict.fromkeys(head for row in each["rows"] for head in row))
        cells = (tuple(row.get(head, "") for head in heads) for row in each["rows"])
        console.print(terminal.table(each["name"], heads, cells))
        terminal.lines(console, f"  {each['file']}")
