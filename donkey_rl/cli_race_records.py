"""The commands about records of races: `race log`, `race replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from donkey_rl.cli_output import JsonOption, at_work, loading, print_json

_EXAMPLE = "races/20261128-193000-generated_track-donkey-rl"
_REMEDY = "Choose another one with --port (0 for a free one)."
_FOLDER = typer.Argument(
    metavar="FOLDER", help="Record of a car, a folder that `donkey-rl race` wrote below races/."
)


def register(app: typer.Typer) -> None:
    """Adds the commands to those of `donkey-rl race`."""
    app.command(epilog=f"Example: donkey-rl race log {_EXAMPLE}")(log)
    app.command(epilog=f"Example: donkey-rl race replay {_EXAMPLE} --time-scale 2")(replay)


def log(folder: Annotated[Path, _FOLDER], as_json: JsonOption = False) -> None:
    """Score a race and log it to MLflow, with its record, plot and video.

    A race does this by itself when it ends. This is for races whose run store did
    not answer, or that were killed. A record that is logged already stays one run.
    """
    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import race_runs

        result = race_runs.log_result(folder, progress)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    best = f", best {result.best_lap_s:.2f} s" if result.best_lap_s is not None else ""
    typer.echo(
        f"Run {result.run_id[:8]}: {len(result.drives)} drives, {result.laps} laps{best}, "
        f"disqualified {result.disqualified} times, connection lost {result.disconnects} times; "
        f"{result.lines} lines of the record, {result.missing} missing"
    )


def replay(
    folder: Annotated[Path, _FOLDER],
    time_scale: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="Seconds of the record per second.")
    ] = 1.0,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")
    ] = 8886,
    as_json: JsonOption = False,
) -> None:
    """Play the record of a race on the live page; Ctrl-C ends it.

    GO, STOP and the other buttons do nothing there but say so. With --json it
    says where the page is once it can be opened.
    """
    import threading

    from donkey_rl.race_server.config import PageConfig
    from donkey_rl.race_server.orders import Order
    from donkey_rl.race_server.page.board import Page
    from donkey_rl.race_server.record import reader
    from donkey_rl.race_server.record import replay as replays

    with at_work(False) as progress, progress.phase("looking through the record", None, "lines"):
        record = reader.read(folder)
    for problem in record.problems:
        typer.echo(f"warning: {problem}", err=True)

    def answer(car: str, order: Order) -> None:
        page.log(car, "warning", "This is a replay: nothing is driven.")

    ended = threading.Event()
    with Page(PageConfig(port=port), answer, remedy=_REMEDY) as page:
        typer.echo(f"The race is played at {page.url} (Ctrl-C ends it)", err=True)
        if as_json:
            print_json({"address": page.url, "problems": list(record.problems)})
        try:
            replays.play(record, page, time_scale, ended=ended, stays=True)
        except KeyboardInterrupt:
            ended.set()
