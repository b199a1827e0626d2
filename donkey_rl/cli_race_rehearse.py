"""The command `donkey-rl race rehearse`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_output import JsonOption, at_work, loading, print_json
from donkey_rl.cli_race import one_driver
from donkey_rl.errors import InputError

if TYPE_CHECKING:
    from donkey_rl.race_server.config import RaceConfig

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl race rehearse --run 3f2a --latency-ms 160 --faults 20")
def rehearse(
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Whose driver: a run, or models:/NAME@ALIAS. Default: the driver of --config.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    driver: Annotated[
        str | None, typer.Option(metavar="DRIVER", help="Who drives: a driver folder, or a run.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your race.yaml; host, port and records are not used."),
    ] = None,
    opponents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO[,WHO]",
            help="Other cars: drivers, or a number of cars, driven by these in turn, else by "
            "yours with less throttle; may be repeated. Default: 3.",
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file. Default: as the driver was trained.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    laps: Annotated[int | None, typer.Option(min=1, help="Of a heat: 2, with --full 3.")] = None,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", min=0.0, help="Two-way latency of the link.")
    ] = 0.0,
    jitter_ms: Annotated[
        float, typer.Option("--jitter-ms", min=0.0, help="How much more or less that is, at most.")
    ] = 0.0,
    loss: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of frames and commands that are lost.")
    ] = 0.0,
    faults: Annotated[
        int,
        typer.Option(min=0, help="So many random faults: killed hosts, silence, a full disk."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same faults.")] = 0,
    full: Annotated[
        bool, typer.Option("--full", help="Take the real times: two hours or more.")
    ] = False,
    time_scale: Annotated[
        float,
        typer.Option(min=0.1, max=20.0, help="Simulation seconds per second; a race has 1."),
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to. Default: a new one in rehearsals/."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a whole race evening on this machine: practice, qualifying, heats, final order.

    Exit code 1 if our car broke a rule: moved before GO, was not braked when
    frames stopped, was not back after a fault, or lost a line of its record.
    """
    from donkey_rl import configuration

    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.race_server.rehearsal import evening
            from donkey_rl.race_server.rehearsal.plan import RehearsalPlan

        values: dict[str, Any] = {
            "race": _race(one_driver(run, driver), config).model_dump(),
            **_opponents(opponents or ()),
            "track": track or "",
            "laps": laps or (3 if full else 2),
            "link": {"latency_ms": latency_ms, "jitter_ms": jitter_ms, "loss": loss},
            "faults": faults,
            "seed": seed,
            "full": full,
            "time_scale": time_scale,
            "folder": _folder(out),
        }
        plan = configuration.validate(RehearsalPlan, values)
        result = evening.hold(plan, progress).model_dump(mode="json")
    if as_json:
        print_json(result)
    else:
        from donkey_rl import rehearsal_tables

        rehearsal_tables.show(result)
    if result["violations"]:
        raise typer.Exit(1)


def _opponents(given: Sequence[str]) -> dict[str, Any]:
    """Returns how many others race, and who drives them."""
    words = [word.strip() for each in given for word in each.split(",") if word.strip()]
    counts = [int(word) for word in words if word.isdecimal() and len(word) < 4]
    drivers = [word for word in words if not (word.isdecimal() and len(word) < 4)]
    if len(counts) > 1:
        raise InputError(
            "--opponents takes one number of cars, and any number of drivers. "
            f"Received: {', '.join(map(str, counts))}."
        )
    usual = 1 if drivers else 3
    return {
        "opponents": max(counts[0] if counts else usual, len(drivers)),
        "opponent_drivers": drivers,
    }


def _race(run: str | None, file: Path | None) -> RaceConfig:
    """Returns our car's configuration."""
    from donkey_rl import configuration
    from donkey_rl.race_server import race_file
    from donkey_rl.race_server.config import RaceConfig

    config = race_file.read(file) if file is not None else RaceConfig()
    if run:
        config = configuration.with_values(config, {"driver": run})
    if not config.driver:
        raise InputError(
            "A rehearsal needs a driver. Received: none. Give --run RUN_ID, a driver folder, or a "
            "--config that names one."
        )
    return config


def _folder(out: Path | None) -> Path:
    """Returns the folder of the rehearsal, which does not exist yet."""
    if out is None:
        return Path("rehearsals") / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    if out.exists():
        raise InputError(f"A rehearsal takes a new folder. Received: '{out}', which exists.")
    return out
