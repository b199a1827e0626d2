"""What ``race.yaml`` says: where to race, as whom, with which driver, and within which bounds."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from donkey_rl.configuration import Config

GATEWAY = "gateway"
"""In `DriveConfig.allow`: the address of this machine's default route."""

LEAST_TOKEN = 8
"""Characters of a page's token; shorter ones are guessed."""

BodyStyle = Literal["donkey", "bare", "car01", "f1", "cybertruck"]
_Byte = Annotated[int, Field(ge=0, le=255)]


def _plain(text: str) -> str:
    """Refuses what a race host may take for the end of a message."""
    for character in text:
        if character in "{}":
            raise ValueError("should be without braces: hosts cut messages at them")
        if unicodedata.category(character).startswith("C"):
            raise ValueError("should be without control characters")
    return text


Plain = Annotated[str, AfterValidator(_plain)]


def _host(text: str) -> str:
    """Returns a host, of an address in brackets the address itself.

    Refuses what has a scheme, a path or a port, which would be looked up in vain.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare.partition("%")[0])
        return bare
    except ValueError:
        if not re.fullmatch(r"[^\s/:@]+", text):
            raise ValueError(
                "should be a name or an address alone, such as race.example.org; its port is a "
                "setting of its own"
            ) from None
    return text


HostName = Annotated[str, AfterValidator(_host)]


def _network(text: str) -> str:
    """Refuses what is no address, so that it is said before the race."""
    if text != GATEWAY:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"should be an address such as 172.18.0.1 or 10.0.0.0/8, or {GATEWAY}"
            ) from None
    return text


def _token(text: str) -> str:
    """Refuses what would not stand in an address as it is."""
    if not re.fullmatch("[A-Za-z0-9_-]*", text):
        raise ValueError("should be of letters, digits, - and _ alone")
    if text and len(text) < LEAST_TOKEN:
        raise ValueError(f"should have at least {LEAST_TOKEN} characters: it moves the car")
    return text


Network = Annotated[str, AfterValidator(_network)]


class LaunchConfig(Config):
    """The first moments after GO, when a car must be over the line within ten seconds.

    Attributes:
        throttle: Throttle command while the launch lasts; the driver steers.
        duration_s: How long; 0 leaves the start to the driver.
        speed: The launch ends earlier at this speed (as reported); None: it lasts its time.
    """

    throttle: float = Field(default=1.0, ge=0.0, le=1.0)
    duration_s: float = Field(default=0.0, ge=0.0, le=10.0)
    speed: float | None = Field(default=None, gt=0.0, le=100.0)


class LimitsConfig(Config):
    """Bounds on every command, whoever gives it.

    Attributes:
        throttle_max: Highest throttle command.
        throttle_min: Lowest throttle command while driving; recovery alone drives backwards.
        steering_max: Largest steering command to either side.
    """

    throttle_max: float = Field(default=1.0, gt=0.0, le=1.0)
    throttle_min: float = Field(default=-1.0, ge=-1.0, le=0.0)
    steering_max: float = Field(default=1.0, gt=0.0, le=1.0)


class WatchdogConfig(Config):
    """When the car is braked though its driver has not asked for it.

    Attributes:
        frame_s: The newest frame is older than this.
        action_s: The driver has not answered a frame in this time.
        keep_alive_s: A command is sent at least so often, frames or not.
        stalls: So many late or useless answers in a row hand over to the next spare driver.
    """

    frame_s: float = Field(default=0.15, ge=0.06, le=2.0)
    action_s: float = Field(default=0.04, ge=0.005, le=2.0)
    keep_alive_s: float = Field(default=0.1, ge=0.02, le=1.0)
    stalls: int = Field(default=5, ge=1, le=100)


class RecoveryConfig(Config):
    """What a car does that should move and does not.

    Attributes:
        stuck_s: It stands for so long after GO, whatever its driver commands.
        speed: It stands below this speed (as reported).
        reverse_s: It drives back for so long, its wheels turned the other way.
        throttle: Throttle of that, backwards.
        attempts: So often without getting anywhere before the car is put back, where that is
            allowed.
        reset: Whether `reset_car` may be sent: it starts the clock of a race anew.
    """

    stuck_s: float = Field(default=2.0, ge=0.5, le=60.0)
    speed: float = Field(default=0.1, gt=0.0, le=5.0)
    reverse_s: float = Field(default=1.2, ge=0.1, le=10.0)
    throttle: float = Field(default=0.4, gt=0.0, le=1.0)
    attempts: int = Field(default=3, ge=1, le=100)
    reset: Literal["never", "practice", "always"] = "practice"


class PageConfig(Config):
    """The live page.

    Attributes:
        host: Address to serve it on; beyond loopback it needs a token, one is made up if none is
            given.
        port: 0 takes a free one.
        token: What the address of the page must carry; empty for none on loopback.
    """

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=8886, ge=0, le=65535)
    token: Annotated[str, AfterValidator(_token)] = Field(default="", max_length=200)


class DriveConfig(Config):
    """The WebSocket `/wsDrive` by which the organiser of a hosted race starts and stops the car.

    Attributes:
        host: Address to listen on.
        port: 0 takes a free one.
        allow: Addresses that may connect besides loopback, as `172.18.0.1` or `10.0.0.0/8`;
            `gateway` is that of this machine's default route, which is where a container's
            published port is reached from.
    """

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=8887, ge=0, le=65535)
    allow: tuple[Network, ...] = Field(default=(GATEWAY,), max_length=32)


class RaceConfig(Config):
    """All of ``race.yaml``.

    Attributes:
        host: Race host.
        port: Its port.
        racer_name: Who races.
        car_name: Label on the car.
        country: Where the racer is from.
        bio: What the audience reads.
        guid: Who we are to the host, also after a lost connection. `donkey-rl race init` makes
            one up; it is as good as a password.
        body_style: Shape of the car.
        body_rgb: Its colour.
        font_size: Of the label.
        driver: A run's id, a model with alias (`models:/donkey-driver@race`), or a driver folder.
        spares: Drivers that take over, in this order.
        scene: Track that is raced; empty for whichever the host has. Loaded where the host
            stands in its menu, and compared with what the driver was trained on.
        generation: What the host's messages must be like; None: like the driver's car.
        start: What sets the car in motion beside GO on the page: the host's `race_start`
            (races), having a car (practice), or `/wsDrive` alone (hosted races).
        latency_ms: Two-way latency that the driver is driven with: faster links are padded to it;
            None: what it was trained for.
        launch: The first moments after GO.
        limits: Bounds on every command.
        watchdog: When the car is braked.
        recovery: What a stuck car does.
        page: The live page; None: without one.
        drive: The WebSocket of hosted races; None: without one.
        records: Folder that takes the records of races.
    """

    host: HostName = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=9091, ge=1, le=65535)
    racer_name: Plain = Field(default="donkey-rl", min_length=1, max_length=64)
    car_name: Plain = Field(default="donkey-rl", min_length=1, max_length=63)
    country: Plain = Field(default="", max_length=64)
    bio: Plain = Field(default="Learned by reinforcement.", max_length=1000)
    guid: Plain = Field(default="", max_length=128)
    body_style: BodyStyle = "donkey"
    body_rgb: tuple[_Byte, _Byte, _Byte] = (30, 110, 220)
    font_size: int = Field(default=100, ge=10, le=100)
    driver: str = Field(default="", max_length=1000)
    spares: tuple[str, ...] = Field(default=(), max_length=16)
    scene: str = Field(default="", max_length=256)
    generation: Literal[2020, 2021, 2022] | None = None
    start: Literal["race_start", "car", "drive"] = "race_start"
    latency_ms: float | None = Field(default=None, ge=0.0, le=1000.0)
    launch: LaunchConfig = Field(default_factory=LaunchConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    watchdog: WatchdogConfig = Field(default_factory=WatchdogConfig)
    recovery: RecoveryConfig = Field(default_factory=RecoveryConfig)
    page: PageConfig | None = Field(default_factory=PageConfig)
    drive: DriveConfig | None = None
    records: Path = Path("races")
