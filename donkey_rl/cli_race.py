"""The command group `donkey-rl race`."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="race",
    help="Race a driver at a race host, with a live page.",
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(epilog="Example: donkey-rl race --run 3f2a --host 127.0.0.1 --config race.yaml")
def race(context: typer.Context) -> None:
    """Race a driver at a race host, with a live page."""
    if context.invoked_subcommand is not None:
        return
    raise NotImplementedError
