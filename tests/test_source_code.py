"""What the code of this package comes to."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Iterator

import pytest

from donkey_rl import source_code
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.experiments import drivers, encoder_training, evaluation_races
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_races import RacePlan


@pytest.fixture
def package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    monkeypatch.setattr(source_code, "_place", tmp_path.joinpath)
    (tmp_path / "envs").mkdir()
    for name in ("grip.py", "tasks.py", "lines.json"):
        (tmp_path / "envs" / name).write_text(name)
    yield tmp_path
    source_code.digest.cache_clear()


def digest(*patterns: str) -> str:
    source_code.digest.cache_clear()
    return source_code.digest(*patterns)


@pytest.mark.parametrize("part", ["agents", "envs", "experiments", "metrics", "race_server"])
def test_parts_are_found_where_they_are_imported_from(part: str) -> None:
    # On Windows a checkout has text files in place of the links in `donkey_rl`.
    module = importlib.import_module(f"donkey_rl.{part}")
    assert source_code._place(part) == pathlib.Path(str(module.__file__)).parent


def test_it_is_another_with_other_names_or_contents(package: pathlib.Path) -> None:
    before, one = digest("envs/*.py"), digest("envs/grip.py")
    (package / "envs" / "lines.json").write_text("other")
    assert digest("envs/*.py") == before
    (package / "envs" / "tasks.py").write_text("other")
    assert digest("envs/*.py") != before
    assert digest("envs/grip.py") == one
    before = digest("envs/*.py")
    (package / "envs" / "tasks.py").rename(package / "envs" / "aims.py")
    assert digest("envs/*.py") != before


@pytest.mark.usefixtures("package")
def test_a_file_that_moved_is_not_overlooked() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file 'envs/gone\.py'"):
        digest("envs/grip.py", "envs/gone.py")


def test_what_is_kept_is_not_that_of_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = EnvironmentConfig()
    rivals = EnvironmentConfig.model_validate({"opponents": {"count": 1}})
    expert = drivers.pursuit(alone)

    def keys() -> tuple[str, ...]:
        raced = [evaluation_races.key(expert, each, RacePlan()) for each in (alone, rivals)]
        return *raced, encoder_training.key(TrainingConfig())

    before = keys()
    monkeypatch.setattr(source_code, "digest", lambda *_: "other")
    after = keys()
    # Who is alone on the road is judged by his own hash.
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]
