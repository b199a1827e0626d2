"""The command `donkey-rl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_completion import one_of
from donkey_rl.cli_output import JsonOption, at_work, check_there, loading, print_json

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl export 3f2a --to donkeycar --out mycar/rl")
def export(
    driver: Annotated[
        str,
        typer.Argument(
            metavar="DRIVER",
            help="A run (its id, the start of it, or its name), a driver folder, "
            "models:/NAME@ALIAS.",
            autocompletion=cli_completion.run,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="What for: donkeycar, litert, onnx or keras.",
            autocompletion=one_of("donkeycar", "litert", "onnx", "keras"),
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A folder, or the file. Default: a new folder here."),
    ] = None,
    quantise: Annotated[
        str | None,
        typer.Option(metavar="8bit", help="Keep the weights in 8 bits: donkeycar and litert."),
    ] = None,
    tub: Annotated[
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
            help="What a car without odometer shows as its speed, in the unit of the driver's "
            "car. Default: the driver's usual.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a driver for donkeycar, LiteRT, ONNX or Keras, checked and timed.

    The answers of what is written are held against the driver's own on some
    hundred frames: nothing is written where they differ.
    """
    check_there("--tub", tub)
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments.deployment import export as exports
        from donkey_rl.experiments.deployment.result import ExportRequest

        values = {
            "driver": driver,
            "to": to,
            "output": out,
            "quantise": quantise,
            "frames": tub,
            "speed": speed,
        }
        request = configuration.validate(ExportRequest, values)
        result = exports.export(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import export_tables

    export_tables.show(result)
