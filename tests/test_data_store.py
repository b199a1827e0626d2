"""Shared data sets: what a store holds after pushes, splits and merges, and what its card says."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donkey_rl.errors import InputError, StorageError, UnknownNameError
from donkey_rl.experiments.data import cards, dataset, manifest, splitting
from donkey_rl.experiments.data.manifest import Change, Entry, Note, RaceFacts
from donkey_rl.experiments.data.store import Store, open_store
from tests import data_sets
from tests.data_sets import NOTE, pull, push, quiet, races

SHARES = splitting.check_shares([80, 10, 10])


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Store:
    """A store of its own for each test."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(f"memory://{uuid.uuid4().hex}")


def entry(path: str, digit: str, kind: manifest.Kind = "file", track: str = "ring") -> Entry:
    facts = RaceFacts(
        track=track, rows=1, frames=0, seconds=1.0, laps=0, clean_laps=0, steering=(0,) * 21
    )
    digest = (digit * 64)[:64]
    return Entry(
        path=path, sha256=digest, bytes=1, kind=kind, facts=facts if kind == "race" else None
    )


def test_what_is_pushed_is_pulled_byte_for_byte(store: Store, tmp_path: pathlib.Path) -> None:
    here = races(tmp_path / "races", [0, 1])
    (here / "deep").mkdir()
    (here / "deep" / "notes.txt").write_text("wind from the left")
    (here / ".hidden").write_text("no")
    report = push(store, here)
    assert (report.added, report.already_there, report.is_new) == (3, 0, True)
    assert report.sent_bytes == sum(f.stat().st_size for f in here.rglob("[a-z]*.*"))
    pulled = pull(store, tmp_path / "there")
    assert pulled.files == 3
    assert pulled.problems == ()
    there = tmp_path / "there"
    assert data_sets.contents(there) == data_sets.contents(here)
    assert (there / "deep" / "notes.txt").read_text() == "wind from the left"
    # The card comes along, and is no part of the set when the folder is pushed again.
    assert "2 races, 1.0 minutes" in (there / "evenings.card.md").read_text()
    again = push(store, there)
    assert (again.added, again.already_there, again.sent_bytes) == (0, 3, 0)
    assert again.version == report.version


def test_a_race_is_there_once_and_other_races_of_its_name_keep_their_own_folder(
    store: Store, tmp_path: pathlib.Path
) -> None:
    first = races(tmp_path / "a", [0, 1])
    second = races(tmp_path / "b", [1, 2, 3])
    push(store, first)
    report = push(store, second)
    assert (report.added, report.already_there, report.races) == (2, 1, 4)
    pull(store, tmp_path / "there")
    found = store.dataset("evenings")
    change = list(found.changes)[1]
    paths = [file.path for file in found.files]
    assert paths[:2] == ["race_00.parquet", "race_01.parquet"]
    # Of the second push race_01 would lie where the first has another race of that name.
    assert paths[2:] == [f"{change[:8]}/race_01.parquet", f"{change[:8]}/race_02.parquet"]
    both = {*data_sets.contents(first), *data_sets.contents(second)}
    assert data_sets.contents(tmp_path / "there") == sorted(both)


def test_versions_stay_what_they_were(store: Store, tmp_path: pathlib.Path) -> None:
    old = push(store, races(tmp_path / "a", [0])).version
    new = push(store, races(tmp_path / "b", [1, 2])).version
    assert old != new
    assert len(store.dataset("evenings", old[:6]).races) == 1
    assert len(store.dataset("evenings", new[:12]).races) == 3
    assert store.dataset("evenings").version == new
    with pytest.raises(UnknownNameError, match="Unknown version of evenings 'ffffff'"):
        store.dataset("evenings", "ffffff")
    with pytest.raises(UnknownNameError, match="Unknown version of evenings"):
        store.dataset("evenings", old[:3])
    with pytest.raises(UnknownNameError, match="Did you mean 'evenings'"):
        store.dataset("evening")


def test_a_split_goes_by_races_and_never_moves_one(store: Store, tmp_path: pathlib.Path) -> None:
    races(tmp_path / "a", range(8), track="ring")
    for number in range(8):
        file = tmp_path / "a" / f"race_{number:02d}.parquet"
        file.rename(tmp_path / "a" / f"ring_{number}.parquet")
    races(tmp_path / "a", range(100, 102), track="oval")
    push(store, tmp_path / "a")
    found, count = store.split("evenings", SHARES, 0, NOTE, quiet())
    assert count == 10
    sizes = [len(found.part(part)) for part in manifest.PARTS]
    assert sizes == [8, 1, 1]
    before = dict(found.parts)
    push(store, races(tmp_path / "b", range(200, 210)))
    assert cards.card(store.dataset("evenings")).parts["none"].races == 10
    found, count = store.split("evenings", SHARES, 7, NOTE, quiet())
    assert count == 10
    assert before.items() <= found.parts.items()
    assert [len(found.part(part)) for part in manifest.PARTS] == [16, 2, 2]
    pulled = store.pull("evenings", tmp_path / "test", quiet(), part="test")
    assert len(pulled.races) == 2
    store.pull("evenings", tmp_path / "train", quiet(), part="train")
    train, test = (set(data_sets.contents(tmp_path / part)) for part in ("train", "test"))
    assert len(train) == 16
    assert not train & test


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    shares=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_split_keeps_its_shares(
    sizes: list[int], shares: tuple[int, int, int], seed: int
) -> None:
    found = [
        entry(f"{track}-{number}.parquet", f"{track:x}{number:02x}", "race", f"t{track}")
        for track, size in enumerate(sizes)
        for number in range(size)
    ]
    wanted = splitting.check_shares(shares)
    parts = splitting.assigned(found, {}, wanted, seed)
    assert parts.keys() == {race.sha256 for race in found}
    assert parts == splitting.assigned(found[::-1], {}, wanted, seed)
    for part, share in wanted.items():
        count = sum(each == part for each in parts.values())
        assert abs(count - share * len(found)) <= len(sizes) + 1
        assert share > 0 or count == 0


def test_shares_that_are_none_are_refused() -> None:
    for shares in ([], [1, 1], [0, 1, 1], [1, -1, 1], [float("nan"), 1, 1]):
        with pytest.raises(InputError, match="A split has three shares"):
            splitting.check_shares(shares)


def test_merging_takes_each_race_once_and_keeps_its_part(
    store: Store, tmp_path: pathlib.Path
) -> None:
    push(store, races(tmp_path / "a", [0, 1]), "club")
    store.split("club", splitting.check_shares([1, 0, 0]), 0, NOTE, quiet())
    push(store, races(tmp_path / "b", [1, 2]), "guests")
    merged = store.merge([("club", None), ("guests", None)], "all", Note(author="Bo"), quiet())
    assert [file.path for file in merged.races] == [
        "club/race_00.parquet",
        "club/race_01.parquet",
        "guests/race_01.parquet",
    ]
    assert len(merged.part("train")) == 2
    card = cards.card(merged)
    club, guests = store.dataset("club"), store.dataset("guests")
    assert card.sources == (club.label, guests.label)
    assert card.licenses == ("CC0",)
    # Nothing that is there is merged a second time.
    again = store.merge([("club", None), ("guests", None)], "all", Note(author="Bo"), quiet())
    assert again.version == merged.version


def test_versions_of_splits_and_merges_stay(store: Store, tmp_path: pathlib.Path) -> None:
    push(store, races(tmp_path / "a", [0, 1]))
    split, _ = store.split("evenings", splitting.check_shares([1, 1, 0]), 0, NOTE, quiet())
    merged = store.merge([("evenings", None)], "all", NOTE, quiet())
    push(store, races(tmp_path / "b", [2]))
    push(store, races(tmp_path / "b", [3]), "all")
    assert store.dataset("evenings", split.version[:12]).parts == split.parts
    assert store.dataset("all", merged.version[:12]).files == merged.files


def test_too_much_for_one_merge_is_refused(
    store: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, races(tmp_path / "a", [0, 1, 2]))
    monkeypatch.setattr(manifest, "MAX_FILES", 2)
    with pytest.raises(InputError, match=r"at most 2 files. Received: 3. Merge fewer"):
        store.merge([("evenings", None)], "all", NOTE, quiet())


def test_a_card_holds_no_markup_of_others() -> None:
    written = cards._cell("![seen](http://evil) | <b> `x` a\\| _y_")
    assert written == "!\\[seen\\](http://evil) \\| &lt;b> \\`x\\` a\\\\\\| \\_y\\_"
    assert [cards._cell(each) for each in ("> a", "1. a", "- a", "# a", "+ a")] == [
        "\\> a", "1\\. a", "\\- a", "\\# a", "\\+ a",
    ]  # fmt: skip
    for name in ("generated_road:7", "donkey_2022", "Ann (again)!", "0.965", "-1.5"):
        assert cards._cell(name) == name


def test_the_card_says_what_the_files_say(store: Store, tmp_path: pathlib.Path) -> None:
    push(store, races(tmp_path / "a", [0, 1]))
    store.push([races(tmp_path / "b", [5], "oval")], "evenings", Note(author="Bo"), quiet())
    card = cards.card(store.dataset("evenings"))
    # 600 rows at 20 Hz are 29.95 s; 300 u of it hold two laps of 120 u, each 12 s.
    assert card.total.model_dump() == {
        "races": 3,
        "minutes": pytest.approx(3 * 29.95 / 60, abs=1e-3),
        "laps": 6,
        "clean_laps": 6,
        "frames": 0,
    }
    assert card.best_lap_s == {"ring": pytest.approx(12.0), "oval": pytest.approx(12.0)}
    assert {name: each.races for name, each in card.tracks.items()} == {"ring": 2, "oval": 1}
    assert card.authors == ("Ann", "Bo")
    assert card.unlicensed == 1
    assert sum(card.steering) == pytest.approx(1.0, abs=1e-4)
    # Steering is drawn around 0: the middle bin holds most.
    assert max(card.steering) == card.steering[10]
    text = cards.markdown(card)
    assert "License: CC0; 1 push states none" in text
    assert "| ring | 2 |" in text
    kept = store.backend.read(f"sets/evenings/versions/{card.version}.json", 1 << 20)
    assert json.loads(kept)["total"]["races"] == 3


def test_a_recording_that_goes_on_and_a_file_that_is_no_race_are_left_out(
    store: Store, tmp_path: pathlib.Path
) -> None:
    here = races(tmp_path / "a", [0])
    (here / "race_01.parquet.parts").mkdir()
    (here / "race_02.parquet").write_bytes(b"PAR1 cut off")
    (here / "link.parquet").symlink_to(here / "race_00.parquet")
    for part in ("objects", "sets"):
        (here / "data" / part).mkdir(parents=True)
        (here / "data" / part / "kept").write_text("of another set")
    report = push(store, here)
    assert report.added == 1
    said = sorted(report.left_out)
    assert len(said) == 4
    for words, line in zip(
        ("is a store of data sets", "is a link", "still being recorded", "no readable Parquet"),
        said,
        strict=True,
    ):
        assert words in line
    with pytest.raises(InputError, match=r"There is nothing to push. Received: .*race_02"):
        store.push([here / "race_02.parquet"], "evenings", NOTE, quiet())
    with pytest.raises(InputError, match="There is nothing at"):
        store.push([here / "none"], "evenings", NOTE, quiet())


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_left_out_with_a_line(
    store: Store, tmp_path: pathlib.Path
) -> None:
    here = races(tmp_path / "a", [0])
    (here / "locked").mkdir(mode=0o000)
    assert "locked cannot be read" in push(store, here).left_out[0]


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../b", "a//b", "C:\\x", "a\\b", ".ssh/x", "a\x1b[2J", "a/" * 20],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="A file in a data set has a relative path"):
        entry(path, "0")


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "a\u202eb", "x" * 1001])
def test_a_text_that_a_terminal_would_obey_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="message"):
        Note(message=text)
    assert Note(message=manifest.shown(text)).message[0] == text[0]


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "a-", "a" * 65, "ä"])
def test_a_name_that_some_store_would_not_take_is_refused(name: str, store: Store) -> None:
    with pytest.raises(InputError, match="A data set's name has small letters"):
        store.dataset(name)


def test_the_union_of_changes_does_not_depend_on_who_reads_them_first() -> None:
    def change(second: int, *entries: Entry) -> tuple[str, Change]:
        made = Change(created=f"2026-11-28T10:00:{second:02d}Z", entries=entries)  # type: ignore[arg-type]
        return made.encoded()[0], made

    changes = [
        change(3, entry("a", "1")),
        change(1, entry("a", "2"), entry("b", "3", "race")),
        change(2, entry("a/c", "4"), entry("d", "3", "race")),
    ]
    found = dataset.united("x", dict(changes))
    assert found == dataset.united("x", dict(changes[::-1]))
    # `a` is a file already where `a/c` and the last `a` come; the race of `d` is that of `b`.
    assert [file.path for file in found.files] == [
        "a",
        "b",
        f"{changes[2][0][:8]}/a/c",
        f"{changes[0][0][:8]}/a",
    ]


def test_a_damaged_change_is_named_and_the_others_are_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("donkey_rl.experiments.data.store._ARRIVAL_S", (0.0,))
    store = open_store(str(tmp_path / "store"))
    push(store, races(tmp_path / "a", [0]))
    push(store, races(tmp_path / "b", [1]))
    first, second = store.dataset("evenings").changes
    folder = tmp_path / "store" / "sets" / "evenings" / "changes"
    for name, content in (
        (second, (folder / f"{second}.json").read_bytes()[:-20]),
        ("0" * 64, b'{"format": 1, "created": "2026-11-28T10:00:00Z", "entries": 7}'),
    ):
        (folder / f"{name}.json").write_bytes(content)
    found = store.dataset("evenings")
    assert list(found.changes) == [first]
    assert len(found.problems) == 2
    assert f"change {second[:12]} is damaged" in "".join(found.problems)
    report = pull(store, tmp_path / "there")
    assert len(report.races) == 1
    assert report.problems == found.problems
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / f"{first}.json").write_bytes(b"{}")
    with pytest.raises(StorageError, match="Nothing of the data set evenings can be read"):
        store.dataset("evenings")
