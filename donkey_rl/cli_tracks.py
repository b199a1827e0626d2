"""The commands of `donkey-rl tracks`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import JsonOption, at_work, check_suffix, loading, print_json

if TYPE_CHECKING:
    from donkey_rl.envs.simulator.track import Track

app = typer.Typer(
    help="List, draw and record tracks, or hold the embedded simulator against recordings.",
    epilog="Example: donkey-rl tracks --json",
    add_completion=False,
)


TrackArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRACK", help="Scene name or track file.", autocompletion=cli_completion.track
    ),
]


@app.callback(invoke_without_command=True)
def tracks(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the tracks by the names that --track takes."""
    # `tracks --json compare` is `tracks compare --json`.
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@app.command("list", epilog="Example: donkey-rl tracks list --json")
def list_tracks(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the tracks by the names that --track takes."""
    _list(as_json or bool(context.obj))


def _list(as_json: bool) -> None:
    from donkey_rl.envs.simulator import track

    rows = [_row(track.load(name)) for name in track.names()]
    if as_json:
        print_json({"tracks": rows})
        return
    from donkey_rl import tables

    tables.show_tracks(rows)


def _row(each: Track) -> dict[str, Any]:
    return {
        "name": each.name,
        "length_u": round(each.length, 1),
        "road_width_u": round(each.road_width, 1),
        "kind": "circuit" if each.closed else "open road",
    }


@app.command(epilog="Example: donkey-rl tracks show warehouse --out warehouse.png")
def show(
    context: typer.Context,
    name: TrackArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The picture, a .png file. Default: TRACK.png."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a track from above, and say how long and how wide it is."""
    from donkey_rl.envs.simulator import track

    road = track.load(name)
    file = out or Path(re.sub(r"[:/\\]", "-", road.name) + ".png")
    check_suffix("plot", file, ".png")
    from donkey_rl.experiments import track_plot

    row = _row(road) | {"plot": str(track_plot.draw(road, file))}
    if as_json or bool(context.obj):
        print_json(row)
        return
    from donkey_rl import tables

    tables.show_track(row)


@app.command(epilog="Example: donkey-rl tracks limit my_track.json --vehicle donkey_2021 --json")
def limit(
    context: typer.Context,
    name: TrackArgument,
    vehicle: Annotated[
        str | None, typer.Option(help="Car generation. Default: the newest.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add the lap to this file; limits.json gives a pace.",
        ),
    ] = None,
    motion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also compute the expert's motion, added to this file."),
    ] = None,
    reserve: Annotated[float, typer.Option(help="Share of the grip that it leaves.")] = 0.03,
    margin: Annotated[float, typer.Option(help="From its wheels to the edges, u.")] = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Compute the quickest lap that a car can drive on a circuit; docs/pace.md says how.

    Needs CasADi: pip install casadi.
    """
    from donkey_rl import configuration

    values = {
        "track": name, "out": out, "motion": motion, "reserve": reserve, "margin": margin,
    } | ({} if vehicle is None else {"vehicle": vehicle})  # fmt: skip
    with at_work(as_json or bool(context.obj)) as progress:
        from donkey_rl.envs.optimal import computing

        request = configuration.validate(computing.LimitRequest, values)
        with progress.phase("computing the quickest lap", 1) as phase:
            result = computing.compute(request)
            phase.update(1)
    if as_json or bool(context.obj):
        print_json(result)
        return
    from donkey_rl import tables

    tables.show_limit(result)


@app.command(
    epilog="Example: donkey-rl tracks record --simulator 127.0.0.1:9091 --name club --left -4"
)
def record(
    context: typer.Context,
    simulator: Annotated[
        str, typer.Option(metavar="WHERE", help="HOST:PORT of a simulator, or the PATH of one.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the new track.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The track file. Default: NAME.json.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene to load if the simulator stands in its menu.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    left: Annotated[float, typer.Option(help="Left edge of the road beside the line, u.")] = -5.0,
    right: Annotated[float, typer.Option(help="Right edge of the road, u.")] = 5.0,
    drive: Annotated[
        bool, typer.Option("--drive", help="Drive a lap even where the path can be asked for.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a track file of what a simulator has loaded; the embedded one drives on it at once."""
    from donkey_rl import configuration

    with at_work(as_json or bool(context.obj)) as progress:
        from donkey_rl.experiments import track_recording

        values = {
            "simulator": simulator, "name": name, "out": out, "scene": track,
            "left": left, "right": right, "drive": drive,
        }  # fmt: skip
        request = configuration.validate(track_recording.TrackRecordingRequest, values)
        result = track_recording.record(request, progress).model_dump(mode="json")
    if as_json or bool(context.obj):
        print_json(result)
        return
    from donkey_rl import tables

    tables.show_recorded_track(result)


@app.command(epilog="Example: donkey-rl tracks compare --recording tub --sheet pairs.png --json")
def compare(
    context: typer.Context,
    recording: Annotated[
        Path,
        typer.Option(metavar="PATH", help="A donkeycar tub (v1, v2), or CSV files with frames/."),
    ],
    track: Annotated[
        str | None,
        typer.Option(
            help="Where it was driven. Default: found by its positions.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    vehicle: Annotated[
        str | None, typer.Option(help="With which car. Default: found by its motion.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Read with that run's encoder. Default: train one.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    reading: Annotated[
        bool, typer.Option("--reading/--no-reading", help="Let an encoder read the frames.")
    ] = True,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write pairs of frames to this .png.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Camera, randomisation, encoder, seed; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the embedded simulator against recordings of the real one.

    Geometry, motion, picture, and what an encoder trained in the embedded
    simulator alone reads from the recorded frames; docs/fidelity.md says how.
    """
    as_json = as_json or bool(context.obj)
    check_suffix("sheet", sheet, ".png")
    from donkey_rl import configuration
    from donkey_rl.experiments.config import TrainingConfig

    training = configuration.with_settings(TrainingConfig(), setting or ())
    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments.fidelity import comparison

        request = comparison.ComparisonRequest(
            recording=recording, track=track, vehicle=vehicle, run_id=run, training=training,
            read_frames=reading, sheet=sheet,
        )  # fmt: skip
        result = comparison.compare(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import tables

    tables.show_comparison(result)
