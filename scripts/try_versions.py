"""Installs the oldest or the newest dependencies that pyproject.toml allows, and tests with them.

    python -m scripts.try_versions lowest
    python -m scripts.try_versions newest --write

Both in an environment that is thrown away. `lowest` takes the lower bound of each dependency that
is named, and whatever is newest of what those bring along: the bounds must be true. `--write`
keeps the versions in scripts/tested_versions.txt, where the tests pass; the Dockerfile installs
those. The tests are a choice that touches every dependency, in about two minutes of two cores.
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
import tempfile

from packaging.specifiers import SpecifierSet

from scripts import checks, package_index

TESTED = checks.ROOT / "scripts" / "tested_versions.txt"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
EXTRAS = ("cluster", "limits", "onnx", "s3", "sftp")
TOOLS = ("hypothesis", "prettytable", "pytest", "pytest-cov", "pytest-xdist", "setuptools")
SMOKE = (
    "cli", "configuration", "data_places", "data_store", "drive_socket", "driver", "environment",
    "export", "limits", "link", "lite_driver", "metrics", "plots", "ppo", "ppo_losses",
    "race_page_web", "record", "sac", "sac_losses", "search_space", "sweep_storage",
    "sweep_trials", "tables", "tracking", "vector", "video",
)  # fmt: skip

LOGGER = logging.getLogger("try_versions")


def requirements() -> list[str]:
    """Returns what is installed beside torch: dependencies, extras, the tools of the tests."""
    table = package_index.project()
    extras = table["optional-dependencies"]
    tools = [each for each in extras["dev"] if package_index.plain(each) in TOOLS]
    more = (each for name in EXTRAS for each in extras[name])
    return [*table["dependencies"], *more, *tools]


def installed(python: pathlib.Path) -> list[str]:
    """Returns what an environment holds, one ``name==version`` a line, without local versions.

    Left out is what says that it is not for this Python: uv takes it all the same where only the
    newest Python is excluded, pip takes an older one, and the file is for pip.
    """
    program = (
        "import importlib.metadata as m, json; "
        "print(json.dumps([[d.name, d.version, d.metadata['Requires-Python'] or ''] "
        "for d in m.distributions()]))"
    )
    told = subprocess.run([str(python), "-c", program], capture_output=True, check=True).stdout
    version = ".".join(map(str, sys.version_info[:3]))
    return sorted(
        f"{package_index.plain(name)}=={release.partition('+')[0]}"
        for name, release, pythons in json.loads(told)
        if version in SpecifierSet(pythons)
    )


def install(folder: pathlib.Path, kind: str, torch: str) -> pathlib.Path:
    """Makes an environment; returns its Python.

    Raises:
        ResolutionError: There is no such set of packages.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package_index.uv("venv", "--python", version, str(folder))
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    # First, since a plain torch for Linux brings CUDA along.
    package_index.uv("pip", "install", "--python", str(python), *shlex.split(torch))
    package_index.uv(
        "pip", "install", "--python", str(python), "--resolution", RESOLUTIONS[kind],
        "--only-binary", ":all:", "-r", "-", given="\n".join(requirements()),
    )  # fmt: skip
    return python


def tested(python: pathlib.Path, kind: str, folder: pathlib.Path) -> bool:
    """Runs the tests with an environment's Python; returns whether they passed."""
    command = [str(python), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    if kind == "lowest":
        # Old packages warn of each other.
        command += ["-o", "filterwarnings=default"]
    command += [f"tests/test_{name}.py" for name in SMOKE]
    # Tests start processes in folders of their own.
    ours = {"NUMBA_CACHE_DIR": str(folder / "numba"), "PYTHONPATH": str(checks.ROOT)}
    environment = {**os.environ, **ours}
    done = subprocess.run(command, cwd=checks.ROOT, env=environment, check=False)
    return done.returncode == 0


def main() -> int:
    """Tries one set; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=RESOLUTIONS)
    parser.add_argument("--torch", default="torch==2.13.0", help="words of pip that bring torch")
    parser.add_argument("--write", action="store_true", help=f"keep the versions in {TESTED.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="donkey-rl-versions-") as name:
        folder = pathlib.Path(name)
        try:
            python = install(folder / "venv", options.kind, options.torch)
        except package_index.ResolutionError as error:
            LOGGER.error("error: %s", error)
            return 1
        versions = installed(python)
        LOGGER.info("%s", "\n".join(versions))
        if not tested(python, options.kind, folder):
            LOGGER.error("error: the tests fail with the %s versions above", options.kind)
            return 1
        if options.write:
            TESTED.write_text("\n".join(versions) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
