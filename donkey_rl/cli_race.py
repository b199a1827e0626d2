"""The command group `donkey-rl race`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion, cli_logging, formatting, shell
from donkey_rl.cli_output import JsonOption, at_work, print_json, until_up
from donkey_rl.errors import InputError

if TYPE_CHECKING:
    from donkey_rl.experiments.progress import ProgressDisplay
    from donkey_rl.race_server.config import RaceConfig
    from donkey_rl.race_server.interface import Level
    from donkey_rl.race_server.team import CarResult, Started

app = typer.Typer(
    name="race",
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(epilog="Example: donkey-rl race --run 3f2a --host 127.0.0.1 --config race.yaml")
def race(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Whose driver: a run, or models:/NAME@ALIAS.",
            autocompletion=cli_completion.run,
        ),
    ] = None,
    driver: Annotated[
        str | None, typer.Option(metavar="DRIVER", help="Who drives: a driver folder, or a run.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Race host. Default: 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its port. Default: 9091.")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Your race.yaml; several for as many cars of one team, one page."
        ),
    ] = None,
    hosted: Annotated[
        bool,
        typer.Option(
            "--hosted", help="Beside the host: GO and STOP come by /wsDrive, on port 8887."
        ),
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting of every car; may be repeated."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="End by itself after so much time.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the live page.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Race a driver at a race host, with a live page; Ctrl-C ends it.

    The car waits for the host's race_start, or for GO on the page. It comes back
    by itself after any loss. The record of the race is stored in MLflow at the
    end.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
        return
    changed = {"host": host, "port": port, "driver": one_driver(run, driver)}
    configs = _configs(config or (), {k: v for k, v in changed.items() if v is not None})
    configs = [_arranged(each, hosted=hosted, page=page, settings=setting) for each in configs]
    with at_work(as_json) as progress:
        results = _race(configs, minutes, progress)
        runs = _log([each.record for each in results if each.frames], progress)
    told = [_told(result, runs.get(result.record)) for result in results]
    if as_json:
        print_json(_summary(told))
    else:
        for each in told:
            typer.echo(_line(each))
    out = [result for result in results if result.failure]
    if out:
        raise typer.Exit(2 if any(each.is_input for each in out) else 1)


def _refuse_options(context: typer.Context, subcommand: str) -> None:
    """Refuses options of a race before another command, which would not heed them.

    Raises:
        InputError: There are some.
    """
    typed = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE":
            is_off = context.params.get(option.name or "") is False
            typed.append((option.secondary_opts if is_off else option.opts)[0])
    if typed:
        raise InputError(
            f"Expected options behind the command that they are for. Received: "
            f"{', '.join(typed)} before '{subcommand}'. Give them as `donkey-rl race {subcommand} "
            f"{' '.join(typed)} ...`, as far as it has them: donkey-rl race {subcommand} --help."
        )


def one_driver(run: str | None, driver: str | None) -> str | None:
    """Returns who drives, as either of two options names it.

    Raises:
        InputError: Both do.
    """
    if run is not None and driver is not None:
        raise InputError("Give --run or --driver, not both. Each names who drives.")
    return run if run is not None else driver


def _configs(files: Iterable[Path], changed: dict[str, Any]) -> list[RaceConfig]:
    """Returns the configurations of all cars."""
    from donkey_rl import configuration
    from donkey_rl.race_server import race_file
    from donkey_rl.race_server.config import RaceConfig

    found = [race_file.read(path) for path in files] or [RaceConfig()]
    return [configuration.with_values(each, changed) for each in found]


def _arranged(
    config: RaceConfig, *, hosted: bool, page: bool, settings: Sequence[str] | None
) -> RaceConfig:
    """Returns a configuration as the options want it; single settings win."""
    from donkey_rl import configuration
    from donkey_rl.race_server.config import DriveConfig

    values: dict[str, Any] = {}
    if hosted:
        drive = config.drive or DriveConfig()
        values |= {"start": "drive", "drive": drive.model_dump()}
    if not page:
        values["page"] = None
    found = configuration.with_values(config, values)
    return configuration.with_settings(found, settings or ())


def _race(
    configs: Sequence[RaceConfig], minutes: float | None, progress: ProgressDisplay
) -> tuple[CarResult, ...]:
    from donkey_rl.race_server import team

    def announce(started: Started) -> None:
        loaded()
        if not all(each.guid for each in configs):
            typer.echo(
                "warning: no guid: a program that is started anew is another competitor to the "
                "host. `donkey-rl race init` makes one up.",
                err=True,
            )
        if started.url:
            typer.echo(f"Page: {started.url}", err=True)
        for port in started.drive_ports:
            typer.echo(f"GO and STOP: /wsDrive on port {port}", err=True)
        for folder in started.records:
            typer.echo(f"Record: {folder}", err=True)

    def say(car: str, level: Level, text: str) -> None:
        said = formatting.printable(text)
        cli_logging.say(f"{car}: {'' if level == 'info' else level + ': '}{said}")

    with until_up(progress, "loading the drivers") as loaded, team.until_told() as ended:
        return team.race(configs, announce, ended=ended, minutes=minutes, log=say)


def _log(records: Sequence[Path], progress: ProgressDisplay) -> dict[Path, str]:
    """Stores records in MLflow; where that cannot be done now, says how it is done later."""
    from donkey_rl.errors import DonkeyRLError

    found: dict[Path, str] = {}
    for folder in records:
        line = shell.quoted("donkey-rl", "race", "log", str(folder))
        later = f"The record is whole in {folder}. Store it later: {line}"
        try:
            from donkey_rl.experiments import race_runs

            found[folder] = race_runs.log(folder, progress)
        except ImportError as error:
            typer.echo(f"{later} (where {error.name} is installed).", err=True)
        except DonkeyRLError as error:
            typer.echo(f"warning: {error} {later}.", err=True)
        except KeyboardInterrupt:
            typer.echo(f"{later}.", err=True)
            raise
    return found


def _told(result: CarResult, run_id: str | None) -> dict[str, Any]:
    import dataclasses

    values = dataclasses.asdict(result)
    del values["is_input"]
    return values | {"record": str(result.record), "run_id": run_id}


def _summary(cars: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the result of a team: of several cars the sums, the best lap, the worst latency."""
    if len(cars) == 1:
        return cars[0]
    laps = [each["best_lap_s"] for each in cars if each["best_lap_s"] is not None]
    found: dict[str, Any] = {
        name: sum(each[name] for each in cars) for name in ("laps", "disconnects", "frames")
    }
    shares = dict.fromkeys(name for each in cars for name in each["latency_ms"])
    found["best_lap_s"] = min(laps, default=None)
    found["latency_ms"] = {
        name: max(each["latency_ms"].get(name, 0.0) for each in cars) for name in shares
    }
    return found | {"cars": list(cars)}


def _line(car: dict[str, Any]) -> str:
    best = car["best_lap_s"]
    latency = car["latency_ms"]
    parts = [
        f"{car['laps']} laps" + (f", best {best:.3f} s" if best is not None else ""),
        f"{car['frames']} frames, {car['disconnects']} disconnects",
    ]
    if latency:
        parts.append(f"frame to command {latency['p50']} ms, 99 % within {latency['p99']} ms")
    if car["failure"]:
        parts.append("out of the race, see the error above")
    if car["run_id"]:
        parts.append(f"run {car['run_id']}")
    return f"{car['car']}: {'; '.join(parts)}; record {car['record']}"
