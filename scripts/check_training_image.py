"""Does the steps of the Dockerfile for training without Docker, and trains in what comes of them.

    python -m scripts.check_training_image
    python -m scripts.check_training_image --torch "torch==2.13.0 --index-url ADDRESS"

The tree is read-only but for /runs, and the user has no rights, as in the Dockerfile's
first lines: a training of seconds, its evaluation, the tracks. Some minutes and 3 GB of disk,
which are given back. It needs Linux and its namespaces, as `image_steps` says.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import subprocess
import tempfile
from typing import Any

from scripts import checks
from scripts.check_install import SHORT
from scripts.checks import ROOT, CheckError
from scripts.image_steps import Image, build, in_image

DOCKERFILE = ROOT / "Dockerfile"

LOGGER = logging.getLogger("check_training_image")


def typed(image: Image, volumes: pathlib.Path, *words: str) -> dict[str, Any]:
    """Runs a command of donkey-rl in the image; returns the JSON object that it printed.

    Raises:
        CheckError: It failed.
    """
    LOGGER.info("donkey-rl %s", " ".join(words))
    command = in_image(image, [*image.entry, *words], build=False, volumes=volumes)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CheckError(f"donkey-rl {' '.join(words)} ended with {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def check(torch: str) -> None:
    """Builds the image and trains in it; raises `CheckError` where it is not as it must be."""
    with tempfile.TemporaryDirectory(prefix="donkey-rl-image-") as folder:
        base = pathlib.Path(folder)
        base.chmod(0o755)
        ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        image, volumes = Image(base / "root", ignored, {"TORCH": torch}), base / "volumes"
        image.folder.mkdir()
        volumes.mkdir()
        volumes.chmod(0o777)
        build(image, DOCKERFILE.read_text(encoding="utf-8"))
        if image.user.split(":")[0] in ("0", "root"):
            raise CheckError("USER is root")
        files = [path for path in image.place("/app").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        LOGGER.info("%d MB beside the base image", size // 1_000_000)
        if len(typed(image, volumes, "tracks", "list", "--json")["tracks"]) < 11:
            raise CheckError("tracks are missing")
        run = typed(image, volumes, *SHORT)["run_id"]
        races = typed(image, volumes, "evaluate", run, "--races", "1", "--laps", "1", "--json")
        LOGGER.info("run %s, evaluated: %s", run, races["metrics"].keys())
        LOGGER.info("The Dockerfile's steps work here.")


def main() -> int:
    """Runs the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", default="torch==2.13.0", help="the build's argument TORCH")
    options = parser.parse_args()
    return checks.exit_code(lambda: check(options.torch))


if __name__ == "__main__":
    raise SystemExit(main())
