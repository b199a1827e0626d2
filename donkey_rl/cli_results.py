"""The commands that set runs beside each other: `compare` and `leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import ForceOption, JsonOption, at_work, loading, print_json

app = typer.Typer(add_completion=False)

OutOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write a page, an .html file.")
]


@app.command(epilog="Example: donkey-rl compare 3f2a 81c0 --metric best_lap_s --out compare.html")
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Ids, the starts of them, or names. The others are compared with the first.",
            show_default=False,
            autocompletion=cli_completion.run,
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file. Default: that of the races.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="A metric, or PATH.py:NAME of your own; may be repeated. Default: race_score "
            "and mean_lap_s.",
        ),
    ] = None,
    races: Annotated[
        int | None,
        typer.Option(min=1, help="Races of each run. Default: all that are stored, at least 30."),
    ] = None,
    laps: Annotated[int | None, typer.Option(min=1, help="Laps of one race. Default: 3.")] = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare runs over the same races, and say whether the difference is real.

    Stored evaluations are used where all runs have driven the same races;
    otherwise the drivers are raced now and the races are kept in their runs.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import comparison, page, result_pages, result_rows

        if out is not None:
            page.check_target(out, force=force)
        given: dict[str, Any] = {
            "track": track,
            "metrics": tuple(metric) if metric else None,
            "races": races,
            "laps": laps,
        }
        values = {name: value for name, value in given.items() if value is not None}
        request = configuration.validate(
            comparison.ComparisonRequest, {"runs": tuple(runs or ()), **values}
        )
        result = comparison.compare(request, progress)
        if out is not None:
            page.save(out, result_pages.comparison(result), force=force)
    if as_json:
        print_json(result.as_json())
        return
    from donkey_rl import result_tables

    tables = [
        make(result, name, brief=True)
        for name in result.runs[0].summaries
        for make in (result_rows.scores, result_rows.differences)
    ]
    result_tables.show(
        f"{len(result.seeds)} races on {result.course}",
        ((each.title, each.headers, each.rows) for each in tables),
        [pair.sentence for pair in result.pairs],
        [
            *result.problems,
            *(f"{label} was raced for this; its run keeps the races." for label in result.driven),
            *_written(out),
        ],
    )


@app.command(epilog="Example: donkey-rl leaderboard --track generated_track --out board.html")
def leaderboard(
    track: Annotated[
        str | None,
        typer.Option(help="Only this track. Default: all.", autocompletion=cli_completion.track),
    ] = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank all runs by the score of their stored races.

    Each track, car, version of the simulator and number of laps has a table of
    its own. Runs that share a rank, marked =, cannot be told apart.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        from donkey_rl.experiments import leaderboard as boards
        from donkey_rl.experiments import page, result_pages, result_rows

        if out is not None:
            page.check_target(out, force=force)
        request = configuration.validate(boards.LeaderboardRequest, {"track": track})
        result = boards.leaderboard(request, progress)
        if out is not None:
            page.save(out, result_pages.leaderboard(result), force=force)
    if as_json:
        print_json(result.as_json())
        return
    from donkey_rl import result_tables

    tables = result_rows.boards(result)
    result_tables.show(
        f"{result.runs - result.without_races:,} of {result.runs:,} runs have races here.",
        ((each.title, each.headers, each.rows) for each in tables),
        [],
        [*result.problems, *_written(out)],
    )


def _written(out: Path | None) -> list[str]:
    return [f"Page: {out}"] if out is not None else []
