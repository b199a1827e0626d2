"""The commands about stored runs as a whole: `dashboard`, `register`, `runs send`."""

from __future__ import annotations

from typing import Annotated

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import JsonOption, at_work, print_json, until_up
from donkey_rl.errors import StorageError

app = typer.Typer(add_completion=False)
runs_app = typer.Typer(
    help="Look after what runs have logged and the run store does not have yet.",
    no_args_is_help=True,
    epilog="Example: donkey-rl runs send",
)


@app.command(epilog="Example: donkey-rl dashboard --port 5001")
def dashboard(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port on this machine. Default: 5000, or the next that is free.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Open the MLflow pages of all runs; Ctrl-C ends them.

    They open with the runs' charts: best lap, laps and score while learning.
    Where MLFLOW_TRACKING_URI names a server, its own pages are opened. With
    --json it says where they are once they can be opened.
    """
    from donkey_rl.experiments import dashboard as pages

    def announce(address: str, ours: bool) -> None:
        is_up()
        ending = " (Ctrl-C ends them)" if ours else ""
        typer.echo(f"MLflow's pages: {address}{ending}", err=True)
        if as_json:
            print_json({"address": address, "ends_with_this": ours})

    with at_work(False) as progress, until_up(progress, "starting MLflow's pages") as is_up:
        pages.open_dashboard(port, announce=announce)


@app.command(epilog="Example: donkey-rl register 3f2a --alias race")
def register(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run: its id, the start of it, or its name.",
            autocompletion=cli_completion.run,
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Of the registered model.")
    ] = "donkey-driver",
    alias: Annotated[
        str, typer.Option(help="What the driver is called; taken from the one that had it.")
    ] = "race",
    as_json: JsonOption = False,
) -> None:
    """Register a run's driver as a model that others load by its name.

    models:/donkey-driver@race is then a driver wherever a run is, and
    mlflow.pyfunc.load_model loads it where donkey-rl is not installed.
    """
    with at_work(as_json) as progress, progress.phase("registering the driver", None, "drivers"):
        from donkey_rl.experiments import registration

        done = registration.register(run, name, alias)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    typer.echo(f"Run {done.run_id[:8]} is version {done.version} of {done.name}: {done.address}")


@runs_app.command(epilog="Example: MLFLOW_TRACKING_URI=http://team:5000 donkey-rl runs send")
def send(as_json: JsonOption = False) -> None:
    """Send what runs started in this folder kept while their run store was away.

    Any command that opens the same run store from this folder does it as well.
    The exit code is 1 where something is still kept.
    """
    with at_work(as_json) as progress, progress.phase("sending", None, "folders"):
        from donkey_rl.experiments.spooling import leftovers

        found = leftovers.send()
    kept = [each for each in found if each.waiting or each.refused or not each.run_id]
    if as_json:
        entries = [each.model_dump(mode="json") for each in found]
        print_json({"sent": sum(each.sent for each in found), "folders": entries})
    else:
        for each in found:
            run = f"run {each.run_id[:8]}" if each.run_id else "an unknown run"
            typer.echo(
                f"{run}: {each.sent} entries sent, {each.waiting} waiting, {each.refused} refused"
                + (f" and kept in {each.folder}: {each.reason}" if each in kept else "")
            )
        if not found:
            typer.echo("Nothing waits to be sent.")
    if kept:
        raise StorageError(
            f"{len(kept)} of {len(found)} folders could not be emptied. Start the run store or "
            "set MLFLOW_TRACKING_URI to theirs; what was refused stays until you delete it."
        )
