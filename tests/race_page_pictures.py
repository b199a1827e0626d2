"""Makes the pictures of docs/race_page.md: a team in practice on a served host.

python -m tests.race_page_pictures DRIVER_FOLDER [DRIVER_FOLDER ...]
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

from PIL import Image

from donkey_rl.race_server import team
from donkey_rl.race_server.config import PageConfig, RaceConfig
from tests import chromium

ROOT = pathlib.Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
NAMES = ("alder", "birch", "cedar", "dogwood")
LAPS = 3
DEADLINE_S = 300.0
RULES = "practice_s: null\nmin_competitors: 2\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_host(port: int, host: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and host.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("The host did not come up.")


def shoot(tab: chromium.Tab, name: str) -> None:
    """Takes a picture in 256 colours, which is a third of the size."""
    path = PICTURES / name
    tab.shoot(path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, kmeans=4)
        few.save(path, optimize=True)


def take(url: str) -> None:
    with chromium.opened(url) as tab:
        tab.wait("document.body.dataset.state === 'live'")
        end = time.monotonic() + DEADLINE_S
        while tab.value("document.querySelectorAll('#lap-rows tr').length") < LAPS:
            if time.monotonic() > end:
                raise TimeoutError("There were not enough laps.")
            time.sleep(0.5)
        time.sleep(6.0)
        tab.theme("light")
        tab.size(1440, 900)
        time.sleep(1.0)
        shoot(tab, "race_page_wide.png")
        tab.theme("dark")
        tab.size(360, 740, phone=True)
        time.sleep(1.0)
        shoot(tab, "race_page_narrow.png")


def main(drivers: list[str]) -> None:
    port = free_port()
    drivers = [str(pathlib.Path(driver).absolute()) for driver in drivers]
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        rules = pathlib.Path(folder, "rules.yaml")
        rules.write_text(RULES)
        command = [
            sys.executable,
            "-m",
            "donkey_rl",
            "sim",
            "--track",
            "generated_track",
            "--race",
        ]
        command += ["--rules", str(rules), "--port", str(port), "--private-port", "0"]
        configs = [
            RaceConfig(
                port=port,
                car_name=name,
                racer_name=name,
                guid=f"picture-{name}",
                driver=driver,
                spares=tuple(each for each in drivers if each != driver),
                start="car",
                page=PageConfig(port=0),
                records=pathlib.Path("races"),
            )
            for name, driver in zip(NAMES, drivers, strict=False)
        ]
        ended, started = threading.Event(), threading.Event()
        urls: list[str] = []

        def announce(what: team.Started) -> None:
            urls.append(what.url)
            started.set()

        with subprocess.Popen(command, cwd=folder) as host:
            thread = threading.Thread(
                target=team.race, args=[configs, announce], kwargs={"ended": ended}
            )
            try:
                wait_for_host(port, host)
                thread.start()
                if not started.wait(DEADLINE_S):
                    raise TimeoutError("The team did not start.")
                take(urls[0])
            finally:
                ended.set()
                if thread.is_alive():
                    thread.join()
                host.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
