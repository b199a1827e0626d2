"""Does the steps of race_server/Dockerfile without Docker, and races the car that comes of them.

    python scripts/check_dockerfile.py my_driver

It reads the Dockerfile and does what it says inside a folder: COPY, RUN, and at last CMD as the
user of USER, with the whole tree read-only but for VOLUME, against a simulator that is started
for it. Between the two a relay looks on: the car must not move before the organiser's message on
/wsDrive, must move after it, and must stop by the next. What stands in for the base image is this
machine: its /usr and the Python that runs this script.

It needs Linux and its namespaces (`unshare`), as root or where users may have them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import websockets.exceptions
import websockets.sync.client

ROOT = pathlib.Path(__file__).parents[1]
DOCKERFILE = ROOT / "race_server" / "Dockerfile"
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore")
HEAVY = (
    "tensorflow", "keras", "torch", "stable_baselines3", "mlflow", "optuna", "numba", "scipy",
    "pandas", "matplotlib", "pip", "setuptools",
)  # fmt: skip
GO = '{"angle":0,"throttle":0,"drive_mode":"local","recording":false}'
STOP = GO.replace("local", "user")

_BASE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt")
_BUILD_TIME = re.compile("PIP_|SSL_|(?:https?|no)_proxy$", re.IGNORECASE)
_START_S, _STOP_S = 600.0, 20.0
_LOOK_S = 0.05

LOGGER = logging.getLogger("check_dockerfile")


class CheckError(Exception):
    """A step failed, or the car did what it must not."""


@dataclass
class Image:
    """What the steps have made so far.

    Attributes:
        folder: Root of its file system.
        arguments: Values of ARG.
        environment: Of ENV.
        user: Of USER.
        folder_of_work: Of WORKDIR.
        volumes: Of VOLUME.
        command: Of CMD.
        carried: Top-level folders that came from the stage before.
    """

    folder: pathlib.Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder_of_work: str = "/"
    volumes: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    carried: set[str] = field(default_factory=set)

    def place(self, inside: str) -> pathlib.Path:
        """Returns where a path of the image lies on this machine."""
        return self.folder / inside.lstrip("/")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yields the instructions of a Dockerfile and what follows each."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def build(image: Image, text: str) -> None:
    """Does all steps up to CMD.

    Raises:
        CheckError: A step failed, or is none that this script knows.
    """
    for name, rest in instructions(text):
        LOGGER.info("%s %s", name, rest)
        for key, value in image.arguments.items():
            rest = rest.replace(f"${{{key}}}", value)
        if name == "FROM":
            image.carried, image.environment = set(), {}
        elif name == "ARG":
            key, _, value = rest.partition("=")
            image.arguments.setdefault(key, value)
        elif name == "COPY":
            copy(image, rest)
        elif name == "RUN":
            inside = in_image(image, ["sh", "-c", rest], build=True)
            if subprocess.run(inside, check=False).returncode:
                raise CheckError(f"RUN {rest} failed")
        elif name == "ENV":
            image.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
        elif name == "USER":
            image.user = rest
        elif name == "WORKDIR":
            image.folder_of_work = rest
        elif name == "VOLUME":
            image.volumes += rest.split()
        elif name == "CMD":
            image.command = json.loads(rest)
        elif name != "EXPOSE":
            raise CheckError(f"{name} is no step that this script knows")


def copy(image: Image, rest: str) -> None:
    """Does one COPY, from the project or from the stage before."""
    words = rest.split()
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    if "from" in options:
        if sources != [target]:
            raise CheckError("between stages this script copies nothing to another place")
        # One folder serves both stages: what is not carried over goes.
        image.carried.add(target.strip("/").split("/")[0])
        for path in image.folder.iterdir():
            if path.name not in image.carried and path.name not in _BASE:
                shutil.rmtree(path)
        return
    for source in sources:
        found, place = ROOT / source, image.place(target)
        if target.endswith("/"):
            place = place / found.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            lines = IGNORED.read_text(encoding="utf-8").split()
            everywhere = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
            ignored = shutil.ignore_patterns(*everywhere)
            shutil.copytree(found, place, symlinks=True, ignore=ignored)
        else:
            shutil.copy(found, place)
        if "chown" in options and os.geteuid() == 0:
            owner, group = map(int, options["chown"].split(":"))
            for path in (place, *place.rglob("*")):
                os.chown(path, owner, group, follow_symlinks=False)


def in_image(
    image: Image, command: list[str], *, build: bool, volumes: pathlib.Path | None = None
) -> list[str]:
    """Returns the words that run a command inside an image.

    Args:
        image: The image.
        command: What to run in it.
        build: As root, on a tree that can be written, with what pip is configured by here; else
            as its user, and read-only.
        volumes: Folder on this machine that stands for its volumes.
    """
    root, python = image.folder, pathlib.Path(sys.base_prefix)
    script = ["set -e", f"mount --bind {root} {root}"]
    for name in _BASE:
        host, place = pathlib.Path("/", name), root / name
        if host.is_symlink():
            script.append(f"ln -sfn {os.readlink(host)} {place}")
        elif host.is_dir():
            script += [f"mkdir -p {place}", f"mount --bind /{name} {place}"]
            script.append(f"mount -o remount,bind,ro {place}")
    for path in ("/dev", "/proc", str(python)):
        if not (path.startswith("/usr/") or path == "/usr"):
            script += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
    environment = dict(image.environment)
    if build:
        environment["PATH"] = f"{python}/bin:/usr/bin:/bin"
        environment["HOME"] = "/build"
        environment |= {k: v for k, v in os.environ.items() if _BUILD_TIME.match(k)}
    else:
        script.append(f"mount -o remount,bind,ro {root}")
        for inside in image.volumes:
            script.append(f"mount --bind {volumes} {image.place(inside)}")
    words = [f"{key}={value}" for key, value in environment.items()]
    user = "0:0" if build or os.geteuid() else image.user
    inner = f'cd {image.folder_of_work} && exec "$@"'
    script.append(
        f"exec chroot --userspec={user} {root} /usr/bin/env -i {shlex.join(words)} "
        f"/bin/sh -c {shlex.quote(inner)} sh {shlex.join(command)}"
    )
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *as_root, "sh", "-c", "\n".join(script)]


class Relay:
    """Passes everything between the car and the simulator, and looks on.

    Attributes:
        port: Where the car connects.
        throttle: Of the car's newest command.
        moved: Whether any command had throttle so far.
        speed: In the simulator's newest message.
        commands: How many commands have passed.
    """

    def __init__(self, simulator: int) -> None:
        """Starts to listen; `simulator` is the port to pass on to."""
        self._simulator = simulator
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.throttle, self.speed, self.commands, self.moved = 0.0, 0.0, 0, False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                car, _ = self._server.accept()
                host = socket.create_connection(("127.0.0.1", self._simulator))
                for ends in ((car, host, self._see_command), (host, car, self._see_report)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(
        self, source: socket.socket, target: socket.socket, see: Callable[[bytes], None]
    ) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                rest = (rest + data)[-(1 << 18) :]
                whole, _, rest = rest.rpartition(b"}")
                see(whole)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _see_command(self, text: bytes) -> None:
        for found in re.finditer(rb'"throttle": ?"?([-+0-9.eE]+)', text):
            self.throttle, self.commands = float(found[1]), self.commands + 1
            self.moved |= self.throttle != 0.0

    def _see_report(self, text: bytes) -> None:
        for found in re.finditer(rb'"speed": ?"?([-+0-9.eE]+)', text):
            self.speed = float(found[1])


def wait(what: str, is_so: Callable[[], bool], within_s: float = _START_S) -> float:
    """Waits until something is so; returns how long it took (s), or raises `CheckError`."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > within_s:
            raise CheckError(f"{what}: not within {within_s:.0f} s")
        time.sleep(_LOOK_S)
    return time.monotonic() - began


def say(port: int, message: str) -> str:
    """Sends a message to /wsDrive as the organiser does; returns the answer."""
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/wsDrive") as connection:
        connection.send(message)
        return str(connection.recv(timeout=5.0))


def answers(port: int) -> bool:
    """Whether /wsDrive can be connected to."""
    try:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/wsDrive"):
            return True
    except (OSError, websockets.exceptions.WebSocketException):
        return False


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def simulator(track: str) -> Iterator[int]:
    """Starts a simulator beside the check; yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "donkey_rl", "sim", "--track", track, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--private-port", "0"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:

        def listens() -> bool:
            if process.poll() is not None:
                raise CheckError(f"the simulator ended: {process.communicate()[1]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait("the simulator listens", listens)
        yield port
    finally:
        process.terminate()
        process.wait(_STOP_S)


def race(image: Image, track: str, volumes: pathlib.Path) -> None:
    """Starts the car as the organiser does, and has it go and stop.

    Raises:
        CheckError: It moved before GO, did not move after it, did not stop, or wrote where it
            must not.
    """
    with simulator(track) as port:
        relay, drive = Relay(port), free_port()
        settings = ["host=127.0.0.1", f"port={relay.port}", f"drive.port={drive}"]
        command = image.command + [word for each in settings for word in ("--set", each)]
        LOGGER.info("CMD %s", shlex.join(command))
        car = subprocess.Popen(in_image(image, command, build=False, volumes=volumes))
        try:
            wait("/wsDrive answers", lambda: car.poll() is not None or answers(drive))
            wait("the car is there", lambda: car.poll() is not None or relay.commands > 20)
            if car.poll() is not None:
                raise CheckError(f"the car's program ended with {car.returncode}")
            before = relay.commands
            wait("commands before GO", lambda: relay.commands > before + 20)
            if relay.moved or relay.speed > 0.1:
                raise CheckError(f"throttle was given, or speed {relay.speed}, before GO")
            LOGGER.info("%d commands before GO, the car stands; GO: %s", relay.commands, GO)
            say(drive, GO)
            moved = wait("the car moves", lambda: relay.speed > 1.0)
            LOGGER.info("the car moves %.1f s after GO; STOP", moved)
            say(drive, STOP)
            stopped = wait("the car stands", lambda: relay.speed < 0.1 and not relay.throttle)
            LOGGER.info("the car stands %.1f s after STOP", stopped)
        finally:
            car.send_signal(signal.SIGTERM)
            ended = car.wait(_STOP_S)
        if ended:
            raise CheckError(f"ended by SIGTERM with {ended}, not 0")


def check(driver: pathlib.Path, config: pathlib.Path, track: str) -> None:
    """Builds the image and races it; raises `CheckError` where it is not as it must be."""
    arguments = {"DRIVER": str(driver.resolve()), "CONFIG": str(config.resolve())}
    with tempfile.TemporaryDirectory(prefix="donkey-rl-image-") as folder:
        base = pathlib.Path(folder)
        base.chmod(0o755)
        image, volumes = Image(base / "root", arguments), base / "volumes"
        image.folder.mkdir()
        volumes.mkdir()
        volumes.chmod(0o777)
        build(image, DOCKERFILE.read_text(encoding="utf-8"))
        if image.user.split(":")[0] in ("0", "root"):
            raise CheckError("USER is root")
        packages = {path.name.lower() for path in image.folder.glob("app/lib/*/site-packages/*")}
        if heavy := [name for name in HEAVY if name in packages]:
            raise CheckError(f"the image holds {', '.join(heavy)}")
        files = [path for path in image.place("/app").rglob("*") if path.is_file()]
        probe = ["sh", "-c", "! touch /race/probe /app/probe 2>/dev/null && touch records/probe"]
        written = in_image(image, probe, build=False, volumes=volumes)
        if subprocess.run(written, check=False).returncode:
            raise CheckError("its user can write elsewhere than to its volume, or not there")
        size = sum(path.stat().st_size for path in files)
        LOGGER.info("%d MB beside the base image", size // 1_000_000)
        race(image, track, volumes)
        if not any(volumes.rglob("*.jsonl")):
            raise CheckError("no record was written")
        LOGGER.info("The Dockerfile's steps work here.")


def main() -> int:
    """Runs the check; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("driver", type=pathlib.Path, help="a driver folder")
    parser.add_argument("--config", type=pathlib.Path, default=ROOT / "race_server/hosted.yaml")
    parser.add_argument("--track", default="generated_track")
    options = parser.parse_args()
    try:
        check(options.driver, options.config, options.track)
    except CheckError as error:
        LOGGER.error("error: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
