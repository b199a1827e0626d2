"""The command `donkey-rl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from donkey_rl.cli_output import JsonOption, at_work, print_json

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl export 3f2a --to donkeycar --output mycar/models")
def export(
    driver: Annotated[
        str,
        typer.Argument(
            metavar="DRIVER",
            help="A run (its id, the start of it, or its name), a driver folder, "
            "models:/NAME@ALIAS.",
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="donkeycar, litert, onnx or keras.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A folder, or the file. Default: a new folder here."),
    ] = None,
    quantise: Annotated[
        str | None,
        typer.Option(metavar="8bit", help="Keep the weights in 8 bits: donkeycar and litert."),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Check it on this tub or these races with pictures. Default: on frames rendered "
            "on its own tracks.",
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="What a car without odometer shows as its speed. Default: the driver's usual.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a driver for donkeycar, LiteRT, ONNX or Keras, checked and timed.

    The answers of what is written are held against the driver's own on some
    hundred frames: nothing is written where they differ.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        from donkey_rl.experiments.deployment import export as exports
        from donkey_rl.experiments.deployment.result import ExportRequest

        values = {
            "driver": driver,
            "to": to,
            "output": output,
            "quantise": quantise,
            "frames": frames,
            "speed": speed,
        }
        request = configuration.validate(ExportRequest, values)
        result = exports.export(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import export_tables

    export_tables.show(result)
