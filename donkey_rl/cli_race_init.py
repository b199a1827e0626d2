"""The command `donkey-rl race init`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion, shell
from donkey_rl.cli_output import JsonOption, at_work, print_json
from donkey_rl.errors import DonkeyRLError, InputError

if TYPE_CHECKING:
    from donkey_rl.race_server.config import RaceConfig

_QUESTIONS = {
    "racer_name": "Who races",
    "car_name": "Label on the car",
    "country": "Country (may be empty)",
    "bio": "What the audience reads about you",
    "host": "Race host",
    "port": "Its port",
    "driver": "Driver: a run, models:/NAME@ALIAS or a driver folder (may be empty)",
    "spares": "A slower, safer driver that takes over if it fails (may be empty)",
    "scene": "Track that is raced (may be empty)",
}


def register(group: typer.Typer) -> None:
    """Adds the command to the group `donkey-rl race`."""
    group.command(
        epilog="Example: donkey-rl race init race.yaml --driver 3f2a --host race.example.org"
    )(init)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write.")] = Path(
        "race.yaml"
    ),
    racer_name: Annotated[str | None, typer.Option(help="Who races.")] = None,
    car_name: Annotated[str | None, typer.Option(help="Label on the car.")] = None,
    country: Annotated[str | None, typer.Option(help="Where you are from.")] = None,
    bio: Annotated[str | None, typer.Option(help="What the audience reads about you.")] = None,
    host: Annotated[str | None, typer.Option(help="Race host.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port.")] = None,
    driver: Annotated[
        str | None,
        typer.Option(
            metavar="DRIVER",
            help="Who drives: a run, models:/NAME@ALIAS, or a driver folder.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    spare: Annotated[
        list[str] | None,
        typer.Option(metavar="DRIVER", help="A driver that takes over; may be repeated."),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(help="Scene that is raced.", autocompletion=cli_completion.track),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any other value of the file; may be repeated."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: options and defaults.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there; its guid stays.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a race.yaml: where to race, as whom, with which driver.

    It asks for what no option gives, and checks each answer at once. The driver
    is looked at, and kept beside the races, so that the evening needs no run
    store.
    """
    from donkey_rl import configuration
    from donkey_rl.race_server import race_file
    from donkey_rl.race_server.config import RaceConfig

    if file.exists() and not force:
        raise InputError(f"'{file}' is there already. Replace it with --force.")
    given = {
        "racer_name": racer_name,
        "car_name": car_name,
        "country": country,
        "bio": bio,
        "host": host,
        "port": port,
        "driver": driver,
        "scene": track,
        "spares": tuple(spare) if spare else None,
    }
    values = {key: value for key, value in given.items() if value is not None}
    values["guid"] = _guid(file)
    asks = not (yes or as_json) and sys.stdin.isatty()
    if racer_name is not None and not asks:
        values.setdefault("car_name", racer_name[:63])
    config = configuration.with_settings(configuration.validate(RaceConfig, values), setting or ())
    if asks:
        config = _asked(config, values)
    warnings = _looked_at(config)
    race_file.write(config, file, replace=force)
    if as_json:
        print_json({"file": str(file), "driver": config.driver, "warnings": warnings})
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    line = shell.quoted("donkey-rl", "race", "--config", str(file))
    who = "" if config.driver else " --run RUN_ID"
    typer.echo(f"Wrote {file}. Race with: {line}{who}")


def _guid(file: Path) -> str:
    """Returns who we are to hosts: as in the file that is replaced, or somebody new.

    Raises:
        InputError: The file is there and cannot be read: its guid would be lost.
    """
    import uuid

    from donkey_rl.race_server import race_file

    old = ""
    if file.exists():
        try:
            old = race_file.read(file).guid
        except InputError as error:
            raise InputError(
                f"{error} The guid in the file would be lost: put this right, or move it away."
            ) from error
    return old or str(uuid.uuid4())


def _asked(config: RaceConfig, known: Mapping[str, Any]) -> RaceConfig:
    """Returns the configuration with answers in place of what no option gave."""
    from donkey_rl import configuration

    for key, question in _QUESTIONS.items():
        if key == "spares" and not config.driver:
            continue
        while key not in known:
            usual = {"car_name": config.racer_name[:63], "spares": ""}.get(key)
            usual = str(getattr(config, key)) if usual is None else usual
            answer = typer.prompt(question, default=usual, show_default=usual != "")
            value = ([answer] if answer else []) if key == "spares" else answer
            try:
                changed = configuration.with_values(config, {key: value})
                if key in ("driver", "spares"):
                    _looked_at(changed)
            except DonkeyRLError as error:
                typer.echo(str(error), err=True)
            else:
                config = changed
                break
    return config


def _looked_at(config: RaceConfig) -> tuple[str, ...]:
    """Loads the drivers as a race does; returns what people should know about them."""
    if not config.driver:
        return ()
    with at_work(as_json=True) as progress:
        progress.message(f"Looking at {config.driver}")
        from donkey_rl.race_server import garage

        fit = garage.Fit(config.generation, config.scene)
        wanted = (config.driver, *config.spares)
        seat = garage.open_seat(wanted, config.records / garage.KEPT, fit)
        seat.close()
    return seat.warnings
