"""Installs the wheel into an empty environment, outside this folder, and does the main job there.

    python -m scripts.check_install
    python -m scripts.check_install --torch "torch==2.13.0 --index-url ADDRESS"

The source distribution is built from what is committed, and the wheel from it. Then: version,
tracks, recipes, a training of seconds, its evaluation, an export. Minutes, and 3 GB of disk that
are given back. Exit code 1 with the first command that fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pathlib
import shlex
import subprocess
import sys
import tarfile
import tempfile
from typing import Any

from scripts import checks, package_index
from scripts.checks import CheckError

SHORT = (
    *("train", "--recipe", "sac_fast", "--seed", "1", "--steps", "600", "--json"),
    *("--set", "encoder.frames=256", "--set", "encoder.epochs=1"),
    *("--set", "sac.learning_starts=200", "--set", "evaluation.races=1"),
)
PACKAGED = """
import importlib.resources, pathlib, sys
import donkey_rl
place = pathlib.Path(donkey_rl.__file__)
assert pathlib.Path(sys.prefix) in place.parents, place
files = importlib.resources.files(donkey_rl)
for name in ("py.typed", "experiments/recording/page/cockpit.html", "metrics/limits.json"):
    assert files.joinpath(name).is_file(), name
assert any(files.joinpath("race_server/page/static").iterdir())
"""

LOGGER = logging.getLogger("check_install")


def build(folder: pathlib.Path) -> pathlib.Path:
    """Builds source distribution and wheel of the last commit; returns the wheel."""
    source, archive = folder / "source", folder / "source.tar"
    command = ["git", "archive", "--format=tar", f"--output={archive}", "HEAD"]
    subprocess.run(command, cwd=checks.ROOT, check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="data")
    package_index.uv("build", str(source), "--out-dir", str(folder / "dist"))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def install(wheel: pathlib.Path, folder: pathlib.Path, torch: str) -> pathlib.Path:
    """Installs a wheel into a new environment; returns the folder of its programs."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package_index.uv("venv", "--python", version, str(folder))
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    for words in (shlex.split(torch), [str(wheel)]):
        package_index.uv("pip", "install", "--python", str(programs / "python"), *words)
    return programs


def run(programs: pathlib.Path, folder: pathlib.Path, name: str, *words: str) -> str:
    """Runs an installed program in a folder; returns what it printed.

    Raises:
        CheckError: It failed.
    """
    LOGGER.info("%s %s", name, shlex.join(words) if name != "python" else "")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(programs / name), *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CheckError(f"{name} {shlex.join(words)} ended with exit code {done.returncode}")
    return done.stdout


def check(torch: str) -> None:
    """Does all of it; raises `CheckError` where something fails."""
    with tempfile.TemporaryDirectory(prefix="donkey-rl-install-") as name:
        folder = pathlib.Path(name)
        wheel = build(folder)
        LOGGER.info("%s, %.1f MB", wheel.name, wheel.stat().st_size / 1e6)
        programs, work = install(wheel, folder / "venv", torch), folder / "work"
        work.mkdir()

        def asked(*words: str) -> dict[str, Any]:
            told: dict[str, Any] = json.loads(run(programs, work, "donkey-rl", *words))
            return told

        run(programs, work, "python", "-c", PACKAGED)
        LOGGER.info("%s", run(programs, work, "donkey-rl", "--version").strip())
        if len(asked("tracks", "list", "--json")["tracks"]) < 11:
            raise CheckError("tracks are missing")
        if not asked("recipes", "--json")["recipes"]:
            raise CheckError("recipes are missing")
        run_id = asked(*SHORT)["run_id"]
        told = asked("evaluate", run_id, "--races", "1", "--laps", "1", "--json")
        if told["run_id"] != run_id:
            raise CheckError(f"another run was evaluated: {told['run_id']}")
        asked("export", run_id, "--to", "donkeycar", "--json")
        LOGGER.info("The wheel does the main job.")


def main() -> int:
    """Runs the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", default="torch==2.13.0", help="words of pip that bring torch")
    options = parser.parse_args()
    return checks.exit_code(lambda: check(options.torch))


if __name__ == "__main__":
    raise SystemExit(main())
