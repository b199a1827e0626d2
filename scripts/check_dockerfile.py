"""Does the steps of race_server/Dockerfile without Docker, and races the car that comes of them.

    python -m scripts.check_dockerfile my_driver

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
import logging
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import websockets.exceptions
import websockets.sync.client

from scripts import checks
from scripts.checks import ROOT, CheckError
from scripts.image_steps import Image, build, in_image

DOCKERFILE = ROOT / "race_server" / "Dockerfile"
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore")
HEAVY = (
    "tensorflow", "keras", "torch", "stable_baselines3", "mlflow", "optuna", "numba", "scipy",
    "pandas", "matplotlib", "pip", "setuptools",
)  # fmt: skip
GO = '{"angle":0,"throttle":0,"drive_mode":"local","recording":false}'
STOP = GO.replace("local", "user")

_START_S, _STOP_S = 600.0, 20.0
_LOOK_S = 0.05

LOGGER = logging.getLogger("check_dockerfile")


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
        ignored = IGNORED.read_text(encoding="utf-8").split()
        image, volumes = Image(base / "root", ignored, arguments), base / "volumes"
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("driver", type=pathlib.Path, help="a driver folder")
    parser.add_argument("--config", type=pathlib.Path, default=ROOT / "race_server/hosted.yaml")
    parser.add_argument("--track", default="generated_track")
    options = parser.parse_args()
    return checks.exit_code(lambda: check(options.driver, options.config, options.track))


if __name__ == "__main__":
    raise SystemExit(main())
