"""The command `donkey-rl version`."""

from __future__ import annotations

from typing import Annotated

import typer

import donkey_rl
from donkey_rl.cli_output import JsonOption, print_json

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl version --all --json")
def version(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Show what a report of a bug needs: machine and packages too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the version, and with --all what it runs on and with."""
    if not everything:
        if as_json:
            print_json({"donkey_rl": donkey_rl.__version__})
        else:
            typer.echo(f"donkey-rl {donkey_rl.__version__}")
        return
    from donkey_rl.experiments import versions

    found = versions.collect().model_dump(mode="json")
    if as_json:
        print_json(found)
        return
    from donkey_rl import terminal

    packages = found.pop("packages")
    variables = [f"{name}={value}" for name, value in found.pop("environment").items()]
    lines = {name.replace("_", " "): str(value) for name, value in found.items()}
    lines["environment"] = " ".join(variables) or terminal.UNKNOWN
    console = terminal.console()
    rows = {**lines, **{name: value or "not installed" for name, value in packages.items()}}
    width = max(map(len, rows))
    terminal.lines(console, *(f"{name:{width}}  {value}" for name, value in rows.items()))
