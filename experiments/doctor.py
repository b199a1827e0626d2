"""A check-up of the installation and of a simulator: what `donkey-rl doctor` does."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.envs import recognition, simulators
from donkey_rl.envs.link import life_cycle
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.link import Frame, SimulatorLink
from donkey_rl.envs.link_source import open_link
from donkey_rl.errors import InputError, LinkError, LinkTimeout, StorageError
from donkey_rl.experiments import latency_measurement, process_clock
from donkey_rl.experiments.progress import ProgressDisplay

WATCHED_S = 3.0
"""How long frames are counted."""

_PACKAGES = ("numpy", "numba", "tensorflow", "keras", "stable-baselines3", "mlflow", "gymnasium")
_DARK = 8.0
"""Mean brightness (of 255) of a frame that shows nothing."""

_PATIENCE_S = 15.0
"""A race host gives no car while others drive; nobody wants to wait for that here."""

_RATE = (17.0, 23.0)
_ECHO_S = 0.2


class Finding(Config):
    """One line of a check-up.

    Attributes:
        check: What was looked at.
        ok: Whether it is as it should be.
        found: What was found.
        remedy: What to do, empty where nothing is to be done.
    """

    check: str
    ok: bool
    found: str
    remedy: str = ""


def examine(
    where: str | None,
    scene: str,
    picture: pathlib.Path | None,
    progress: ProgressDisplay,
    profile: pathlib.Path | None = None,
) -> list[Finding]:
    """Looks at the installation, and at a simulator if one is named.

    Args:
        where: `HOST:PORT` or the path of a program.
        scene: What to load where the simulator stands in its menu.
        picture: Where to write a frame, if anywhere.
        progress: Shows that it goes on.
        profile: Where to write how late commands are, if anywhere; measured for a while.

    Raises:
        InputError: The profile cannot be written; `where` is no address and no program, or there
            are several.
    """
    if where is None:
        if picture is not None:
            raise InputError("A frame comes from a simulator: add --simulator HOST:PORT.")
        if profile is not None:
            raise InputError("Latency is that of a simulator: add --simulator HOST:PORT.")
        return list(_installation())
    places = simulators.parse(where)
    if len(places) != 1:
        raise InputError(
            f"The doctor looks at one simulator at a time: HOST:PORT. Received: '{where}'."
        )
    if profile is not None and not profile.absolute().parent.is_dir():
        raise InputError(
            f"The folder of the latency profile {profile} is not there. Make it, or name another."
        )
    findings = list(_installation())
    try:
        hasty = LinkConfig(race_timeout_s=_PATIENCE_S)
        with open_link(places[0], scene=scene, link=hasty) as link:
            with progress.phase("looking at the simulator", None, "checks") as phase:
                findings.append(_reached(link))
                for check in (_scene, _sizes, _rates, _round_trip):
                    findings.extend(check(link))
                    phase.update(len(findings))
                findings.extend(_picture(_standing(link), picture))
            if profile is not None:
                findings.append(_latency(link, profile, progress))
    except LinkTimeout as error:
        findings.append(_late(error))
    except LinkError as error:
        findings.append(_failed(error))
    return findings


def _failed(error: LinkError) -> Finding:
    found = str(error).removesuffix(f" {error.remedy}")
    return Finding(check="simulator", ok=False, found=found, remedy=error.remedy)


def _late(error: LinkTimeout) -> Finding:
    if error.awaited != life_cycle.CAR_OF_A_RACE:
        return _failed(error)
    found = f"answers on {error.host}:{error.port}, a race host that gives no car now"
    return Finding(
        check="simulator", ok=True, found=found, remedy="Look again in practice, if you take part."
    )


def _installation() -> Iterator[Finding]:
    machine = process_clock.machine_in_words()
    yield Finding(
        check="installation",
        ok=True,
        found=f"donkey-rl {donkey_rl.__version__}, Python {platform.python_version()}, {machine}",
    )
    for name in _PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                check=name, ok=False, found="not installed", remedy=f"pip install {name}"
            )
        else:
            yield Finding(check=name, ok=True, found=version)


def _reached(link: SimulatorLink) -> Finding:
    address = f"{link.config.host}:{link.config.port}"
    return Finding(check="simulator", ok=True, found=f"answers on {address}, has given a car")


def _scene(link: SimulatorLink) -> Iterator[Finding]:
    told = link.reset().telemetry
    known = recognition.describe(told)
    positions = told.position is not None
    remedy = ""
    if positions and not recognition.scenes(told):
        remedy = "Make a track file of it: donkey-rl tracks record --simulator ... --name NAME."
    yield Finding(check="scene", ok=True, found=known, remedy=remedy)
    generation = "2022 or newer" if told.is_of_2022 else "2020 or 2021"
    car = "donkey_2022" if told.is_of_2022 else "donkey_2021 (or donkey_2020)"
    yield Finding(check="generation", ok=True, found=f"{generation}: --set vehicle={car}")
    yield Finding(
        check="positions and cte",
        ok=True,
        found="sent" if positions else "not sent: a race, or extended telemetry is off",
        remedy="" if positions else "Training wants them: switch on 'extended telemetry'.",
    )


def _standing(link: SimulatorLink) -> Frame:
    """Returns the next frame; one in lock-step only comes after a command."""
    link.control(0.0, 0.0, 1.0)
    return link.next_frame()


def _sizes(link: SimulatorLink) -> Iterator[Finding]:
    image = _standing(link).image
    wanted = link.config.camera.shape
    yield Finding(
        check="frame size",
        ok=image.shape == wanted,
        found=f"{image.shape[1]} x {image.shape[0]}, {wanted[1]} x {wanted[0]} asked for",
        remedy="" if image.shape == wanted else "Update the simulator: it ignores cam_config.",
    )


def _rates(link: SimulatorLink) -> Iterator[Finding]:
    """Counts frames; a simulator in lock-step sends one for each command."""
    began, first = time.perf_counter(), _standing(link).telemetry.time
    count, last = 0, first
    while time.perf_counter() - began < WATCHED_S:
        frame = _standing(link)
        count += 1 + frame.skipped
        last = frame.telemetry.time
    wall = time.perf_counter() - began
    simulated = max(last - first, 1e-6)
    per_s = count / simulated
    ok = _RATE[0] <= per_s <= _RATE[1]
    yield Finding(
        check="frame rate",
        ok=ok,
        found=f"{per_s:.1f} per second of simulation, {count / wall:.1f} per second of the clock",
        remedy="" if ok else "20 are usual: the machine is too slow, lower its time scale.",
    )


def _round_trip(link: SimulatorLink) -> Iterator[Finding]:
    """Waits for echoes of changed commands, with the brake on."""
    for k in range(12):
        # An echo may take a frame or two; in between the command stays the same.
        link.control(0.1 * (1 + k // 3), 0.0, 1.0)
        link.next_frame()
    found = link.statistics().round_trip_s
    link.control(0.0, 0.0, 1.0)
    if found is None:
        yield Finding(
            check="round trip",
            ok=False,
            found="commands are not echoed",
            remedy="The simulator ignores controls: in a race they count from GO on.",
        )
        return
    yield Finding(
        check="round trip",
        ok=found < _ECHO_S,
        found=f"{1000.0 * found:.0f} ms from a command to the frame that shows it",
        remedy="" if found < _ECHO_S else "Train with latency, or drive from a nearer machine.",
    )


def _latency(link: SimulatorLink, profile: pathlib.Path, progress: ProgressDisplay) -> Finding:
    """Measures how late commands are, and writes it into a file."""
    written, found = latency_measurement.write(
        link, profile, progress, latency_measurement.MEASURED_S
    )
    remedy = "" if written else "Measure again; in a race commands are echoed from GO on."
    return Finding(check="latency profile", ok=written, found=found, remedy=remedy)


def _picture(frame: Frame, picture: pathlib.Path | None) -> Iterator[Finding]:
    brightness = float(np.mean(frame.image))
    dark = brightness < _DARK
    yield Finding(
        check="picture",
        ok=not dark,
        found=f"mean brightness {brightness:.0f} of 255" + (": it shows nothing" if dark else ""),
        remedy="Start the simulator with a display (xvfb-run on a server)." if dark else "",
    )
    if picture is not None:
        _write(frame.image, picture)
        yield Finding(check="frame written", ok=True, found=str(picture))


def _write(image: npt.NDArray[np.uint8], picture: pathlib.Path) -> None:
    """Writes a PNG file.

    Raises:
        StorageError: It cannot be written.
    """
    from PIL import Image

    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(picture, format="PNG")
    except OSError as error:
        raise StorageError(f"Cannot write {picture}: {error.strerror or error}.") from error
