"""The container of hosted races: its packages are enough, its Dockerfile keeps its promises."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from donkey_rl.race_server import race_file
from donkey_rl.race_server.config import GATEWAY
from tests.test_driver import make

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "race_server"
BARE = """
    import json
    import sys

    known = set(json.loads(sys.argv[1])) | sys.stdlib_module_names

    class Missing:
        def find_spec(self, name, path=None, target=None):
            top = name.partition(".")[0]
            # Python's own, named for the machine.
            if top not in known and not top.startswith("_sysconfigdata"):
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    sys.meta_path.insert(0, Missing())
    from donkey_rl import cli

    sys.exit(cli.main(sys.argv[2:]))
"""


def requirements() -> dict[str, str]:
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_plain(name): version for name, version in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image") / "driver"
    make()[0].save(folder)
    return folder


def typed_in_image(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where there are no other packages than in the image."""
    listed = requirements()
    names = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {_plain(owner) for owner in owners} & set(listed)
    }
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE), json.dumps([*names, "donkey_rl"]), *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_hosted_car_waits_for_go_with_the_listed_packages_alone(
    driver: Path, tmp_path: Path
) -> None:
    words = ["race", "--hosted", "--config", str(FOLDER / "hosted.yaml"), "--driver", str(driver)]
    words += ["--host", "127.0.0.1", "--port", "1", "--set", "drive.port=0", "--minutes", "0.1"]
    done = typed_in_image(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"/wsDrive on port \d+", done.stderr)
    assert "127.0.0.1:1" in done.stderr
    assert list(tmp_path.rglob("*.jsonl"))


def test_what_the_image_cannot_do_is_said_with_the_missing_package(tmp_path: Path) -> None:
    done = typed_in_image(tmp_path, "leaderboard", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"error: This needs the package '\w+', which .+\n", done.stderr)
    assert "pip install donkey-rl" in done.stderr


def test_no_package_needs_one_that_is_not_listed() -> None:
    listed = requirements()
    looked_at = 0
    for name, version in listed.items():
        if importlib.metadata.version(name) != version:
            # Another one than in the image may need others: `pip check` in the Dockerfile decides.
            continue
        looked_at += 1
        for need in importlib.metadata.distribution(name).requires or []:
            wanted, _, condition = need.partition(";")
            # Conditions are extras, and systems or versions of Python.
            if not condition:
                assert _plain(re.split(r"[ <>=!~\[(]", wanted)[0]) in listed, f"{name}: {need}"
    assert looked_at or sys.version_info[:2] != (3, 11)


def test_the_dockerfile_keeps_its_promises() -> None:
    found = instructions()
    last = {name: value for name, value in found if name != "RUN"}
    assert last["USER"] == "10001:10001"
    # The organiser gives a command of its own, by way of bash: so no entry point.
    assert "ENTRYPOINT" not in last
    assert json.loads(last["CMD"]) == ["donkey-rl", "race", "--hosted", "--config", "race.yaml"]
    assert last["VOLUME"] == "/race/records"
    copied = [value for name, value in found if name == "COPY"]
    # Nothing of the project's folder that is not named.
    assert not any(value.split()[-2] in (".", "./") for value in copied)
    final = [name for name, _ in found][[n for n, _ in found].index("FROM", 1) :]
    assert final.count("USER") == 1
    assert final.index("USER") < final.index("CMD")


def test_the_configuration_in_the_image_is_valid_and_holds_no_secret() -> None:
    config = race_file.read(FOLDER / "hosted.yaml")
    assert config.guid == ""
    assert config.start == "drive"
    assert config.drive is not None
    assert (config.drive.host, config.drive.port) == ("0.0.0.0", 8887)
    assert config.drive.allow == (GATEWAY,)
    assert config.page is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("guid: 4f1c9a", True),
        ("guid: '4f1c9a'", True),
        ('guid: "4f1c9a"', True),
        ('"guid" : 4f1c9a', True),
        ("page: {token: s3cret-words}", True),
        ("page: null", False),
        ("guid: ''", False),
        ("host: example.org\n# guid: here", False),
    ],
)
def test_a_secret_in_the_image_ends_the_build(tmp_path: Path, text: str, refused: bool) -> None:
    (tmp_path / "race.yaml").write_text(f"port: 9091\n{text}\n")
    (run,) = (value for name, value in instructions() if name == "RUN" and "guid" in value)
    command = run.partition("&& mkdir")[0].replace("/race/", f"{tmp_path}/")
    command = command.replace("/app/bin/python", sys.executable)
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == refused
    assert ("passwords" in done.stderr) is refused
