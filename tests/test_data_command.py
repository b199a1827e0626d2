"""`donkey-rl data`, and trainings that learn from a data set."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from donkey_rl import cli, configuration
from donkey_rl.errors import InputError, StorageError, UnknownNameError
from donkey_rl.experiments import demonstrations, encoder_frames
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import backends, lessons, reference
from donkey_rl.experiments.data.store import open_store
from tests import data_sets
from tests.data_sets import NOTE, push, quiet, races


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder of its own is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DONKEY_RL_DATA", raising=False)
    return tmp_path


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, ["data", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def answer(*words: str, code: int = 0) -> dict[str, Any]:
    """Runs a command with ``--json`` and returns its object."""
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code))
    return found


def test_from_a_push_to_a_repaired_store(here: pathlib.Path) -> None:
    assert "holds no data set" in run("list")
    races(here / "a", [0, 1])
    races(here / "b", [1, 2], "oval")
    pushed = answer("push", "a", "--name", "club", "--license", "CC0", "--author", "Ann")
    assert (pushed["added"], pushed["is_new"], pushed["store"]) == (2, True, "data")
    assert "club@" in run("push", "b", "--name", "club", "-m", "more")
    (listed,) = answer("list")["sets"]
    assert (listed["name"], listed["total"]["races"]) == ("club", 4)
    assert "club" in run("list")
    assert answer("split", "club", "--shares", "50,25,25")["assigned"] == 4
    assert "train" in run("split", "club")
    assert answer("merge", "club", "--name", "all")["races"] == 4
    assert "merged from" in run("merge", "club", "--name", "all")
    card = answer("show", "club", "--card", "club.md")
    assert set(card["parts"]) == {"train", "validation", "test"}
    assert "# Data set club" in (here / "club.md").read_text()
    assert "oval" in card["tracks"]
    assert "oval" not in run("show", f"club@{pushed['version'][:8]}")
    pulled = answer("pull", "club/train")
    assert pulled["folder"] == f"pulled/club-{card['version'][:12]}-train"
    assert len(pulled["races"]) == card["parts"]["train"]["races"]
    answer("push", "a", "b", "--name", "club", "--store", "backup")
    sorted((here / "data" / "objects").glob("*/*"))[0].write_bytes(b"damaged")
    assert len(answer("verify", code=1)["problems"]) == 1
    assert "1 problem." in run("verify", "club", code=1)
    problem = run("pull", "club", "--out", "there", code=1)
    assert "is cut off in the store" in problem
    assert len(answer("verify", "--repair", "backup")["repaired"]) == 1
    assert "all whole" in run("verify")
    assert answer("pull", "club", "--out", "there")["problems"] == []


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("show", "nothing"), UnknownNameError, "data has none: push one"),
        (("pull", "club/trian"), UnknownNameError, "Did you mean 'train'"),
        (("pull", "a@xyz"), InputError, "A data set is named NAME"),
        (("push", "no/such", "--name", "x"), InputError, "There is nothing at"),
        (("push", ".", "--name", "Evenings"), InputError, "small letters"),
        (("split", "club", "--shares", "many"), InputError, "--shares are numbers with commas"),
        (("list", "--store", "nosuch://place"), InputError, "an address that fsspec knows"),
        (("show", "club", "--card", "card.txt"), InputError, "a .md file"),
        (("show", "club/train"), InputError, "Leave '/train' out"),
        (("merge", "club/train", "--name", "all"), InputError, "Leave '/train' out"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run(*words)


def test_a_set_that_is_half_made_or_lost_hides_no_other(here: pathlib.Path) -> None:
    races(here / "a", [0])
    for name in ("club", "lost"):
        push(open_store(), here / "a", name)
    # A first push that was cut off before it wrote its change.
    (here / "data" / "sets" / "half" / "changes").mkdir(parents=True)
    (change,) = (here / "data" / "sets" / "lost" / "changes").iterdir()
    change.unlink()
    found = answer("list")
    assert [each["name"] for each in found["sets"]] == ["club"]
    assert [text.count("data set lost") for text in found["unreadable"]] == [1]
    assert "lost" in run("list")
    assert answer("verify", code=1)["problems"] == [f"lost: change {change.stem[:12]} is missing"]


def test_a_file_and_a_folder_of_one_name_are_not_pushed_both(here: pathlib.Path) -> None:
    for path in ("b/y", "c/b"):
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_text(path)
    pushed = answer("push", "b", "c/b", "--name", "clash")
    assert (pushed["added"], len(pushed["left_out"])) == (1, 1)
    assert "a folder of this push is called b" in pushed["left_out"][0]


def test_passwords_are_not_shown() -> None:
    secret = "sftp://ann:s3cret@127.0.0.1:1/data"
    assert backends.without_password(secret) == "sftp://ann:***@127.0.0.1:1/data"
    with pytest.raises(StorageError) as caught:
        run("list", "--store", secret)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with (
        pytest.raises(StorageError) as caught,
        backends.guard(secret.replace("s3cret", "s%40cret"), "It failed"),
    ):
        raise RuntimeError("no entry for ann with s@cret at sftp://ann:s%40cret@host")
    assert "cret" not in str(caught.value)


def trained(*words: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(), ["vehicle=donkey_2021", *words])


def test_a_training_names_a_data_set_by_a_version_that_stays(here: pathlib.Path) -> None:
    data_sets.pictured(here / "races" / "lap.parquet", 70)
    races(here / "races", [0])
    store = open_store()
    version = push(store, here / "races").version
    named = trained("imitation.data=data:evenings", "imitation.batch_size=64")
    pinned = lessons.pinned(named)
    assert pinned.imitation.data == f"data:evenings@{version}"
    assert lessons.named(pinned) == {"imitation.data": f"data:evenings@{version}"}
    assert lessons.pinned(pinned) == pinned
    data_sets.pictured(here / "more" / "lap.parquet", 71)
    push(store, here / "more")
    assert lessons.pinned(pinned) == pinned
    assert lessons.pinned(named) != pinned
    # Of the races only the one with pictures can be learned from.
    (lap,) = reference.recordings(pinned.imitation.data or "", quiet())
    assert lap.name == "lap.parquet"
    demonstrations.check(pinned, quiet())
    (old,) = reference.source(f"data:evenings@{version}", quiet()).pictured
    assert old == lap
    with pytest.raises(UnknownNameError, match="Unknown data set 'evening'"):
        lessons.pinned(trained("imitation.data=data:evening"))
    plain = trained("imitation.data=some/tub")
    assert lessons.pinned(plain) == plain


def test_a_part_of_a_data_set_trains_an_encoder(here: pathlib.Path) -> None:
    for number in range(4):
        data_sets.pictured(here / "races" / f"{number}.parquet", 20 + number)
    store = open_store()
    push(store, here / "races")
    store.split("evenings", {"train": 0.5, "validation": 0.25, "test": 0.25}, 0, NOTE, quiet())
    places = reference.recordings("data:evenings/train", quiet())
    assert len(places) == 2
    images = np.concatenate(list(encoder_frames.recorded(places, 1000, (120, 160, 3))))
    rows = [int(place.stem) + 20 for place in places]
    assert len(images) == sum(rows)
    # Brightness grows by 5 with each row, in one race after the other.
    assert images[: rows[0], 0, 0, 0] == pytest.approx(5 * np.arange(rows[0]), abs=3)


def test_a_set_without_pictures_cannot_be_learned_from(here: pathlib.Path) -> None:
    push(open_store(), races(here / "races", [0]))
    with pytest.raises(InputError, match="expected races with pictures"):
        reference.recordings("data:evenings", quiet())


def test_a_damaged_set_is_not_learned_from(here: pathlib.Path) -> None:
    data_sets.pictured(here / "races" / "lap.parquet")
    push(open_store(), here / "races")
    for file in (here / "data" / "objects").glob("*/*"):
        file.write_bytes(b"damaged")
    with pytest.raises(StorageError, match=r"data:evenings is not whole: lap.parquet is"):
        reference.recordings("data:evenings", quiet())
