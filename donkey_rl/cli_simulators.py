"""The commands that serve a simulator and look at one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion, cli_logging, shell, web_access
from donkey_rl.cli_output import (
    JsonOption,
    SettingOption,
    at_work,
    check_suffix,
    print_json,
    until_up,
)

if TYPE_CHECKING:
    from donkey_rl.envs.serving.server import Server

app = typer.Typer()

LOOPBACK = "127.0.0.1"
_RULES = "rules file"


@app.command(epilog="Example: donkey-rl sim --track generated_track --time-scale max")
def sim(
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file. Default: the menu, clients choose.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for drivers.")] = 9091,
    private_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the private API.")
    ] = 9092,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others can connect if it is public.")
    ] = LOOPBACK,
    generation: Annotated[
        str, typer.Option(help="Whose car and protocol: 2020, 2021 or 2022.")
    ] = "2022",
    time_scale: Annotated[
        str, typer.Option(help="Simulation seconds per second, or max: as clients answer.")
    ] = "1",
    race: Annotated[bool, typer.Option("--race", help="Hold a race evening.")] = False,
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Race rules (YAML); implies --race.")
    ] = None,
    setting: SettingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the embedded simulator over TCP, as if it were Unity; Ctrl-C ends it.

    Any DonkeyCar client can drive it: gym-donkeycar, donkeycar, or
    donkey-rl train --simulator 127.0.0.1:9091. With --json it says where it
    listens once it does.
    """
    from donkey_rl import configuration
    from donkey_rl.envs.serving import background
    from donkey_rl.envs.serving.config import ServerConfig

    values: dict[str, Any] = {
        "track": track, "host": host, "port": port, "private_port": private_port,
        "generation": _whole(generation), "time_scale": _scale(time_scale),
    }  # fmt: skip
    if race or rules is not None:
        values["race"] = {}
        if rules is not None:
            text = configuration.read_file(rules, _RULES)
            values["race"] = configuration.parse_recipe(text, str(rules), _RULES)
    config = configuration.validate(ServerConfig, values)
    config = configuration.with_settings(config, setting or ())
    with (
        cli_logging.at_least_info("donkey_rl.serving"),
        at_work(False) as progress,
        until_up(progress, "starting the simulator") as is_up,
    ):

        def announce(server: Server) -> None:
            is_up()
            _announce(server, as_json=as_json)

        background.serve(config, announce)


def _announce(server: Server, *, as_json: bool) -> None:
    from donkey_rl.envs.settings import EnvironmentConfig

    if not web_access.is_loopback(server.config.host):
        typer.echo(
            f"warning: listening on {server.config.host}: whoever reaches this machine can drive, "
            "load scenes and reset cars, without a password. Leave --host out to keep it to "
            "yourself.",
            err=True,
        )
    scene = server.config.track or "the menu"
    host = LOOPBACK if server.config.host in ("0.0.0.0", "::") else server.config.host
    words = ["--simulator", web_access.address(host, server.port)]
    words += [] if server.config.track is None else ["--track", server.config.track]
    if server.config.vehicle != EnvironmentConfig().vehicle:
        words += ["--set", f"vehicle={server.config.vehicle}"]
    typer.echo(
        f"Serving {scene} on {web_access.address(server.config.host, server.port)} "
        "(Ctrl-C ends it). Drive it: "
        f"donkey-rl train --agent sac {shell.quoted(*words)}",
        err=True,
    )
    if server.private_port is not None:
        typer.echo(
            f"Private API on port {server.private_port}, key {server.private_key}.", err=True
        )
    if as_json:
        print_json(
            {
                "track": server.config.track,
                "host": server.config.host,
                "port": server.port,
                "private_port": server.private_port,
                "private_key": server.private_key,
            }
        )


def _whole(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _scale(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@app.command(epilog="Example: donkey-rl doctor --simulator 127.0.0.1:9091 --frame frame.png")
def doctor(
    simulator: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="HOST:PORT of a simulator, or the PATH of one."),
    ] = None,
    track: Annotated[
        str,
        typer.Option(
            help="Scene to load if the simulator stands in its menu.",
            autocompletion=cli_completion.track,
        ),
    ] = "generated_track",
    frame: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a frame to this .png file.")
    ] = None,
    latency_profile: Annotated[
        Path | None,
        typer.Option(
            "--latency-profile",
            metavar="FILE",
            help="Measure for 20 s how late commands are, and write it to this .csv file, to "
            "train and evaluate with.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the installation, and a simulator: each line with its remedy.

    Exit code 1 if something is broken.
    """
    check_suffix("frame", frame, ".png")
    check_suffix("latency profile", latency_profile, ".csv")
    with at_work(as_json) as progress:
        from donkey_rl.experiments import doctor as doctors

        findings = doctors.examine(simulator, track, frame, progress, latency_profile)
    healthy = all(each.ok for each in findings)
    if as_json:
        print_json(
            {"healthy": healthy, "findings": [each.model_dump(mode="json") for each in findings]}
        )
    else:
        from donkey_rl import tables

        tables.show_findings([each.model_dump(mode="json") for each in findings])
    if not healthy:
        raise typer.Exit(1)
