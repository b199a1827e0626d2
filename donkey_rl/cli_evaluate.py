"""The command `donkey-rl evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_completion import one_of
from donkey_rl.cli_output import (
    AddressOption,
    JsonOption,
    SimulatorOption,
    at_work,
    check_suffix,
    check_there,
    loading,
    print_json,
)
from donkey_rl.errors import InputError

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl evaluate 3f2a --races 30 --held-out --robustness")
def evaluate(
    ctx: typer.Context,
    driver: Annotated[
        str,
        typer.Argument(
            metavar="DRIVER",
            help="A run (its id, the start of it, or its name), a driver folder, PATH.py:NAME, "
            "pursuit or untrained.",
            autocompletion=cli_completion.driver,
        ),
    ],
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file, several with commas; random_circuit:1-20, "
            "generalist:held_out. Default: as trained.",
            autocompletion=cli_completion.tracks,
        ),
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out",
            help="Race on tracks it was not trained on, too: three, or those of its split.",
        ),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="generalist",
            help="Race on all tracks of a split, and report training, validation and held-out.",
        ),
    ] = None,
    look: Annotated[
        str | None,
        typer.Option(metavar="unseen", help="Race under looks that no recipe trains with."),
    ] = None,
    races: Annotated[int, typer.Option(min=1, help="Races, each from another start seed.")] = 5,
    laps: Annotated[int, typer.Option(min=1, help="Laps of one race.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same races.")] = 0,
    latency_ms: Annotated[
        float,
        typer.Option("--latency-ms", min=0.0, help="Two-way latency from frame to command."),
    ] = 0.0,
    jitter_ms: Annotated[
        float,
        typer.Option("--jitter-ms", min=0.0, help="How much more or less that is, at most."),
    ] = 0.0,
    latency_profile: Annotated[
        Path | None,
        typer.Option(
            "--latency-profile",
            metavar="FILE",
            help="Latency as measured: donkey-rl doctor writes such a file.",
        ),
    ] = None,
    opponents: Annotated[
        str | None,
        typer.Option(
            metavar="WHO[,WHO]",
            help="Other cars that start ahead: pursuit:0.6 (a share of the expert's speed), "
            "passing, parked, self, a run or a driver folder.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Also race under another latency, light, camera and grip."
        ),
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC", help="A further metric of your own, PATH.py:NAME; may be repeated."
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change car, camera or limits; may be repeated."
        ),
    ] = None,
    frame_limit_ms: Annotated[
        float,
        typer.Option(
            "--frame-limit-ms", min=1.0, help="Time of a driver of a file to answer a frame."
        ),
    ] = 50.0,
    yardsticks: Annotated[
        bool | None,
        typer.Option(
            "--yardsticks/--no-yardsticks",
            help="Hold it against untrained, pursuit and the best run before. "
            "Default: yes, but for a split.",
        ),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="cues", help="Probe whether it steers by cues that go with the turn."
        ),
    ] = None,
    simulator: SimulatorOption = None,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a video of the first race (.mp4).")
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames/--no-frames", help="Keep what the camera sees.")
    ] = False,
    tub: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Race nothing: hold its steering against what somebody recorded in this tub, or "
            "in these races with pictures.",
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="With --tub: the speed in place of its own, as the driver's car reports it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --tub: draw how they agree (.png)."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where races are driven: local or ray, track by track.",
            autocompletion=one_of("local", "ray"),
        ),
    ] = "local",
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Race a driver by the fixed protocol and score it.

    A driver of a file is a class, or a function that makes one, with a method
    act(observation). It runs in a process of its own, with your rights.
    """
    check_suffix("video", video, ".mp4")
    check_suffix("plot", out, ".png")
    check_there("--tub", tub)
    whom = {"driver": driver, "settings": setting or ()}
    raced = {
        "track": track, "held_out": held_out, "split": split, "look": look,
        "robustness": robustness, "metric": metric, "probe": probe, "simulator": simulator,
        "video": video, "frames": frames, "latency_ms": latency_ms, "jitter_ms": jitter_ms,
        "latency_profile": latency_profile, "opponents": opponents,
    }  # fmt: skip
    if tub is not None:
        idle = ("races", "laps", "seed", "frame_limit_ms", "engine", "address")
        typed = {name: ctx.get_parameter_source(name) for name in idle}
        given = {name: getattr(each, "name", "") == "COMMANDLINE" for name, each in typed.items()}
        given["yardsticks"] = yardsticks is not None
        _check_alone("--tub", "races nothing", raced | given)
        _hold_against({**whom, "tub": tub, "speed": speed, "plot": out}, as_json)
        return
    _check_alone("Racing", "needs --tub for these", {"speed": speed is not None, "out": out})
    wanted = {
        "races": races, "laps": laps, "seed": seed, "frame_limit_ms": frame_limit_ms,
        "yardsticks": split is None if yardsticks is None else yardsticks,
        "engine": engine, "address": address, "simulator": simulator or "embedded",
        "metrics": raced.pop("metric") or (),
    }  # fmt: skip
    _race({**whom, **raced, **wanted}, as_json)


def _race(values: Mapping[str, Any], as_json: bool) -> None:
    """Races a driver, and shows what came of it."""
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import evaluation

        request = configuration.validate(evaluation.EvaluationRequest, values)
        result = evaluation.evaluate(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import evaluation_tables

    evaluation_tables.show(result)


def _hold_against(values: Mapping[str, Any], as_json: bool) -> None:
    """Holds a driver's steering against a recording, and shows how they agree."""
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments import tub_agreement

        request = configuration.validate(tub_agreement.TubRequest, values)
        result = tub_agreement.evaluate(request, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import agreement_tables

    agreement_tables.show(result)


def _check_alone(option: str, why: str, others: Mapping[str, Any]) -> None:
    """Refuses options that do nothing beside another one."""
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if given:
        raise InputError(
            f"{option} {why}. Received: {', '.join(given)} as well. Leave one of the two out."
        )
