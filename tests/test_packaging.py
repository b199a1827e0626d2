"""What is installed, and under which names."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import donkey_rl

ROOT = Path(__file__).parents[1]
SUBPACKAGES = ("agents", "envs", "experiments", "metrics", "race_server")
DATA = (
    "envs/optimal/lines/*.json",
    "envs/simulator/tracks/*.json",
    "experiments/recipes/*.yaml",
    "experiments/recording/page/*",
    "metrics/limits.json",
    "race_server/page/static/*.*",
    "race_server/page/static/vendor/*",
)
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "*.egg-info", "mlruns", "mlartifacts"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel from a copy, so that no build leftovers come in or are left."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=LEFT_OUT)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    if int(importlib.metadata.version("setuptools").split(".")[0]) >= 77:
        command.append("--no-build-isolation")
    command += [f"--wheel-dir={folder}", str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def installed_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files_of_subpackages(pattern: str) -> set[str]:
    return {
        f"donkey_rl/{path.relative_to(ROOT).as_posix()}"
        for name in SUBPACKAGES
        for path in (ROOT / name).rglob(pattern)
    }


@pytest.mark.slow
def test_wheel_holds_donkey_rl_and_every_module_of_it(wheel: Path) -> None:
    names = installed_names(wheel)
    core = {f"donkey_rl/{path.name}" for path in (ROOT / "donkey_rl").glob("*.py")}
    assert {name.split("/")[0] for name in names} == {"donkey_rl"}
    assert {name for name in names if name.endswith(".py")} == core | files_of_subpackages("*.py")


@pytest.mark.slow
def test_wheel_holds_the_data_and_nothing_more(wheel: Path) -> None:
    data = {
        f"donkey_rl/{p.relative_to(ROOT).as_posix()}" for glob in DATA for p in ROOT.glob(glob)
    }
    others = {name for name in installed_names(wheel) if not name.endswith(".py")}
    assert others == data | {"donkey_rl/py.typed"}
    assert len([name for name in data if "/tracks/" in name]) >= 11


@pytest.mark.slow
def test_wheel_finds_its_tracks_and_recipes_without_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import donkey_rl\n"
        "from donkey_rl import configuration\n"
        "from donkey_rl.envs.simulator import track\n"
        "print(donkey_rl.__file__)\n"
        "print(len(track.names()), track.load('generated_track').name)\n"
        "print(*[type(configuration.read_recipe(n)).__name__ for n in configuration.recipes()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place, tracks, recipes = done.stdout.split("\n")[:3]
    assert Path(place).is_relative_to(tmp_path.resolve())
    assert tracks == "11 generated_track"
    assert set(recipes.split()) <= {"dict"}


@pytest.mark.slow
def test_wheel_names_its_command_licence_and_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        about = {
            name.split(".dist-info/")[1]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name
        }
    assert "donkey-rl = donkey_rl.cli:main" in about["entry_points.txt"]
    assert f"Version: {donkey_rl.__version__}\n" in about["METADATA"]
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= set(about)


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_link_of_subpackage_points_at_its_folder(name: str) -> None:
    link = ROOT / "donkey_rl" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


def test_every_top_level_package_is_known() -> None:
    found = {init.parent.name for init in ROOT.glob("*/__init__.py")}
    assert found == {"donkey_rl", *SUBPACKAGES}


def test_no_module_has_two_names() -> None:
    assert not set(SUBPACKAGES) & {module.split(".")[0] for module in sys.modules}
