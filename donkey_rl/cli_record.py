"""The command `donkey-rl record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from donkey_rl import cli_completion, cli_data, shell
from donkey_rl.cli_data import StoreOption
from donkey_rl.cli_output import JsonOption, SimulatorOption, at_work, loading, print_json
from donkey_rl.errors import InputError

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: donkey-rl record --driver pursuit --laps 5 --races 4 --out lessons")
def record(
    driver: Annotated[
        str,
        typer.Option(
            metavar="DRIVER",
            help="Who drives: human (a page in the browser), pursuit, a run, a driver folder, or "
            "PATH.py:NAME.",
            autocompletion=cli_completion.driver,
        ),
    ] = "human",
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file. Default: the driver's own.",
            autocompletion=cli_completion.track,
        ),
    ] = None,
    simulator: SimulatorOption = None,
    laps: Annotated[
        int | None,
        typer.Option(min=1, help="Laps of each race (default 3); of a person laps recorded."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="Time of each race; of a person time recorded."),
    ] = None,
    races: Annotated[
        int, typer.Option(min=1, help="Races of a driver, each from another start seed.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first start.")] = 0,
    noise: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Deviation added to a driver's actions: lessons in recovering."
        ),
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to. Default: a new one in recordings/."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="SET", help="Push what was recorded to this data set at the end."),
    ] = None,
    store: StoreOption = None,
    frames: Annotated[
        bool, typer.Option("--frames/--no-frames", help="Keep what the camera sees.")
    ] = True,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change car, camera or limits; may be repeated."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address of the page; others can open it if it is public.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page, 0 for a free one.")
    ] = 8887,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    recover: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Only make files of the races that a killed recording left."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record races with commands and pictures, by hand in the browser or by any driver.

    A person drives by keyboard, gamepad or touch, and starts and stops recording
    with Enter. Ctrl-C ends it; everything that was recorded is kept.
    """
    values: dict[str, Any] = {
        "driver": driver, "track": track, "simulator": simulator or "embedded", "laps": laps,
        "minutes": minutes, "races": races, "seed": seed, "noise": noise, "out": out,
        "settings": setting or (), "frames": frames, "host": host, "port": port,
        "browser": browser,
    }  # fmt: skip
    from donkey_rl import configuration

    if recover is not None and name is not None:
        where = () if store is None else ("--store", "STORE")
        line = shell.quoted("donkey-rl", "data", "push", str(recover), "--name", name, *where)
        raise InputError(
            "--recover only makes files of what was left. Received: --name too. Push them then: "
            f"{line}."
        )
    if store is not None and name is None:
        raise InputError("--store is where --name lies. Received: no --name. Name a data set.")
    with at_work(as_json) as progress:
        with loading(progress):
            from donkey_rl.experiments.recording import record as recording

        if recover is not None:
            found = recording.recover(recover)
            result = {"races": [each.model_dump(mode="json") for each in found]}
        else:
            request = configuration.validate(recording.RecordRequest, values)
            shared = None
            if name is not None:
                from donkey_rl.experiments.data import manifest
                from donkey_rl.experiments.data.store import open_store

                # Before anybody drives for something that cannot be pushed.
                manifest.check_name(name)
                shared = open_store(store)

            def announce(address: str) -> None:
                _warn_of_others(request.host)
                typer.echo(f"Drive here: {address} (Ctrl-C ends it)", err=True)

            done = recording.record(request, progress, announce)
            if name is not None and shared is not None:
                about = cli_data.note(None, f"Recorded by {done.driver}.", "")
                done = recording.push(done, shared, name, about, progress)
            result = done.model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    _show(result, shared.shown if store is not None and shared is not None else None)


def _warn_of_others(host: str) -> None:
    from donkey_rl import web_access

    if not web_access.is_loopback(host):
        typer.echo(
            f"warning: the page is served on {host}, without encryption: whoever has its address "
            "with the token, or reads the network, can drive. Leave --host out to keep it to "
            "yourself.",
            err=True,
        )


def _show(result: dict[str, Any], store: str | None) -> None:
    """Prints each race's laps, and what to do with them."""
    from donkey_rl import terminal

    console = terminal.console()
    rows = [
        (
            Path(race["file"]).name,
            str(lap["number"]),
            f"{lap['time_s']:.2f}",
            "clean" if lap["clean"] else ", ".join(lap["reasons"]).replace("_", " "),
        )
        for race in result["races"]
        for lap in race["laps"]
    ]
    if rows:
        console.print(terminal.table("Laps", ("race", "lap", "time (s)", "verdict"), rows))
    for race in result["races"]:
        if not race["laps"]:
            terminal.lines(console, f"{race['file']}: {race['seconds']:.1f} s, no whole lap.")
    for line in result.get("failures", ()):
        terminal.lines(console, line)
    if "folder" not in result:
        terminal.lines(console, *(f"Finished: {race['file']}" for race in result["races"]))
        return
    count = len(result["races"])
    if not count:
        terminal.lines(console, "Nothing was recorded.")
        return
    terminal.lines(
        console,
        f"{count} race{'' if count == 1 else 's'}, {result['seconds']:.0f} s, {result['laps']} "
        f"laps, {result['clean_laps']} clean, in {result['folder']}. Ended: {result['ended']}.",
    )
    if result["frames"]:
        command = terminal.command()
        pushed = result["data_set"]
        data = f"data:{pushed}" if pushed else result["folder"]
        line = f"{command} train --set {shell.quoted(f'imitation.data={data}')}"
        if pushed and store:
            line = shell.with_variable("DONKEY_RL_DATA", store, line)
        terminal.lines(console, f"Learn from it: {line}")
