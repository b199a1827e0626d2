"""The command `donkey-rl plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import JsonOption, at_work, loading, print_json
from donkey_rl.errors import UnknownNameError

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl plot 3f2a 81c0 --what speed,laps --video-with 81c0")
def plot(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Ids, the starts of them, or names.",
            autocompletion=cli_completion.run,
        ),
    ],
    what: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[,KIND]",
            help="What to draw: trajectory, speed, cte, laps, learning, saliency; and as videos "
            "video and saliency-video. Default: all pictures.",
        ),
    ] = None,
    video_with: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Also write a video of the first run beside this one.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Of the races. Default: the one that all of the runs raced most.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where to; files of the same names are replaced."),
    ] = Path("pictures"),
    as_json: JsonOption = False,
) -> None:
    """Draw pictures and videos of stored runs, of their races and of their learning.

    Races are those that `evaluate` and the end of the training stored. For
    saliency, what in the image moves the steering, the driver drives a lap.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import pictures

        kinds = [word.strip() for word in what.split(",")] if what is not None else []
        for kind in kinds:
            if kind not in pictures.KINDS:
                raise UnknownNameError("picture", kind, pictures.KINDS)
        values = {
            "runs": runs, "what": kinds, "track": track, "video_with": video_with, "out": out,
        }  # fmt: skip
        request = configuration.validate(pictures.PicturesRequest, values)
        result = pictures.draw(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import terminal

    console = terminal.console()
    console.print(terminal.facts(result["files"]))
    left_out = (f"{what} left out: {reason}" for what, reason in result["left_out"].items())
    terminal.lines(console, *left_out, *result["problems"])
