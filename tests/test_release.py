"""What a release stands on: licences, versions, images, and what SECURITY.md says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import donkey_rl
from scripts import check_wheels, checks, image_steps, list_licences, package_index, try_versions
from scripts.check_wheels import Finding

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
SUBPACKAGES = {"agents", "envs", "experiments", "metrics", "race_server"}


def direct() -> list[Requirement]:
    return [Requirement(each) for each in package_index.project()["dependencies"]]


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("Typing_Extensions>=4", "typing-extensions"), ("psycopg[binary]>=3.2", "psycopg"),
     ("a.b; python_version > '3'", "a-b"), ("numpy", "numpy")],
)  # fmt: skip
def test_names_are_written_as_the_index_writes_them(requirement: str, name: str) -> None:
    assert package_index.plain(requirement) == name


def test_index_of_pip_is_told_to_uv_with_the_stronger_scope() -> None:
    listed = (
        ":env:.find-links='/mine /ours'\nglobal.cert='/ca.pem'\nglobal.find-links='/theirs'\n"
        "global.timeout='60'\nuser.index-url='https://index.example/simple'\n"
    )
    assert package_index.from_pip(listed) == {
        "UV_FIND_LINKS": "/mine,/ours",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
    }


def findings() -> list[Finding]:
    names = {each.name for each in direct()}
    missing = check_wheels.EXPECTED["macOS x86_64"]
    whole = dict.fromkeys(names, "1.0")
    partly = dict.fromkeys(names - missing, "1.0")
    return [
        Finding("Linux x86_64", "3.11", packages=whole | {"click": "8.0"}),
        Finding("Linux x86_64", "3.12", packages=whole | {"click": "8.0", "numpy": "2.0"}),
        Finding("macOS x86_64", "3.11", packages=partly, missing=sorted(missing)),
    ]


def test_gaps_between_wheels_are_told_unless_they_are_known() -> None:
    known = findings()
    assert check_wheels.surprises(known) == []
    known[0].missing = ["numba"]
    known[1].without = ["onnx"]
    known[2].missing.remove("tensorflow")
    first, second, third = check_wheels.surprises(known)
    assert first == "Linux x86_64, Python 3.11: there is no wheel for numba"
    assert second == "Linux x86_64, Python 3.12: the extra onnx cannot be had"
    assert third.startswith("macOS x86_64, Python 3.11: tensorflow can be had now")


def test_table_of_wheels_names_versions_by_system_and_python() -> None:
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:]
        for line in check_wheels.table(findings()).splitlines()
    }
    assert rows["scipy"] == ["1.0", "1.0"]
    assert rows["numpy"] == ["1.0 (3.11), 2.0 (3.12)", "1.0"]
    assert rows["tensorflow"] == ["1.0", "none"]
    assert rows["packages in all"] == [f"{len(direct()) + 1}", "cannot be installed"]


def test_each_dependency_has_a_true_lower_bound_and_a_tested_version() -> None:
    tested = dict(line.split("==") for line in try_versions.TESTED.read_text("utf-8").split())
    for each in direct():
        assert [bound.operator for bound in each.specifier] == [">="], each
        assert each.specifier.contains(tested[each.name]), each


def test_versions_are_tried_with_the_tests_that_there_are() -> None:
    for name in try_versions.SMOKE:
        assert (ROOT / f"tests/test_{name}.py").is_file()
    wanted = {package_index.plain(each) for each in try_versions.requirements()}
    assert {each.name for each in direct()} | set(try_versions.TOOLS) <= wanted


def test_every_licence_is_known_and_what_asks_for_more_is_explained() -> None:
    found = list_licences.entries()
    assert {each.name for each in direct()} <= {each.name for each in found}
    assert list_licences.complaints(found) == []
    page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", page, re.M))
    assert {each.name for each in direct()} | set(list_licences.NOTES) <= listed


def test_licences_that_nobody_has_looked_at_are_told() -> None:
    found = [
        list_licences.Entry("free", "1", "MIT", "donkey-rl"),
        list_licences.Entry("silent", "1", "", "donkey-rl"),
        list_licences.Entry("strict", "1", "AGPL-3.0", "onnx"),
        list_licences.Entry("nvidia-cufft", "1", "LicenseRef-NVIDIA-Proprietary", "donkey-rl"),
    ]
    assert list_licences.complaints(found) == [
        "silent states no licence", "strict: AGPL-3.0; say in NOTES what that means",
    ]  # fmt: skip


def test_version_is_the_same_in_the_citation() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.M) == [donkey_rl.__version__]


def test_files_that_the_security_page_names_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[A-Za-z_]+\.[a-z]+|Dockerfile)?)`", text))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_images_stand_on_one_base_of_a_full_version() -> None:
    texts = [
        (ROOT / name).read_text("utf-8") for name in ("race_server/Dockerfile", "compose.yaml")
    ]
    texts.append(DOCKERFILE.read_text("utf-8"))
    bases = {base for text in texts for base in re.findall(r"FROM (\S+)", text)}
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)


def test_training_image_takes_the_package_alone_and_runs_without_rights() -> None:
    steps = list(image_steps.instructions(DOCKERFILE.read_text(encoding="utf-8")))
    sources = {
        word
        for name, rest in steps
        if name == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert sources >= SUBPACKAGES | {"donkey_rl"}
    assert all((ROOT / each).exists() and image_steps.is_sent(each, IGNORED) for each in sources)
    for name in (".env", ".git", "mlflow.db", "mlruns", "race.yaml", "runs", "tests", "data"):
        assert not image_steps.is_sent(name, IGNORED), name
    last = dict(steps)
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["donkey-rl"]'
    assert [name for name, _ in steps].index("USER") < [n for n, _ in steps].index("ENTRYPOINT")


def test_steps_of_an_image_are_done(tmp_path: Path) -> None:
    image = image_steps.Image(tmp_path, IGNORED, {"WHO": "7:7"})
    image_steps.build(
        image,
        "FROM base\n# a word\nARG WHO=1:1\nCOPY setup.py LICENSE /in/\nCOPY metrics /in/metrics\n"
        'ENV A=b \\\n    C="d e"\nUSER ${WHO}\nENTRYPOINT ["it"]\nCMD ["goes"]\n',
    )
    assert (tmp_path / "in/setup.py").read_bytes() == (ROOT / "setup.py").read_bytes()
    assert (tmp_path / "in/metrics/laps.py").is_file()
    assert not list(tmp_path.rglob("__pycache__"))
    assert image.environment == {"A": "b", "C": "d e"}
    assert (image.user, image.entry, image.command) == ("7:7", ["it"], ["goes"])


@pytest.mark.parametrize("step", ["COPY tests /in/tests", "HEALTHCHECK NONE"])
def test_a_step_that_cannot_be_done_ends_the_build(tmp_path: Path, step: str) -> None:
    image = image_steps.Image(tmp_path, IGNORED, {})
    with pytest.raises(checks.CheckError, match=step.split()[0]):
        image_steps.build(image, f"FROM base\n{step}\n")


def test_checks_of_a_release_are_verbs_of_make() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "wheels", "versions", "wheel-check", "licences"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for module in re.findall(r"-m scripts\.([a-z_]+)", done.stdout):
        assert (ROOT / f"scripts/{module}.py").is_file()
    assert done.stdout.count("-m scripts.") == 5
