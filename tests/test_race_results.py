"""The results file of race evenings: what is in it, and that a killed server loses nothing."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from donkey_rl.envs.serving.race import results
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Evening, Stage
from donkey_rl.errors import ConfigurationError, InputError, StorageError
from tests.race_evening import COURSE, SHORT, Hall, Racer, field


def rules_in(folder: Path, **settings: Any) -> RaceRules:
    values = SHORT.model_dump() | {"results": folder / "evening.json"} | settings
    return RaceRules.model_validate(values)


def open_hall(rules: RaceRules) -> tuple[Hall, Path]:
    evening, path = results.begin(COURSE.name, rules)

    def save(now: Evening) -> bool:
        results.save(now, path)
        return True

    return Hall(rules, evening, save), path


def racers() -> list[Racer]:
    """Five: E leaves the track in stage 1, A never gets beyond its first line in the ladder."""
    found = field(5)
    found[4].faults = {Stage.STAGE_1_RACE: ["out"] * 9}
    found[0].faults = {Stage.STAGE_2_RACE: ["stop 0"] * 9}
    return found


# Ladder: A has a bye, B beats E, C beats D; A has a bye, B beats C; B beats A. Third is C.
EXPECTED = list("BACDE")


def test_the_file_tells_the_whole_evening(tmp_path: Path) -> None:
    rules = rules_in(tmp_path, practice_s=50.0, qualifying_ends_early=True)
    hall, path = open_hall(rules)
    for racer in racers():
        hall.join(racer)
    hall.run_to(Stage.COMPLETE)
    text = path.read_text(encoding="utf-8")
    written = json.loads(text)
    assert written["stage"] == "complete"
    assert written["track"] == "circle"
    assert written["rules"]["race_laps"] == 3
    who = {each["identity"]: each["name"] for each in written["competitors"]}
    assert [who[each] for each in written["standings"]] == EXPECTED
    first = written["competitors"][0]
    assert (first["country"], first["car_name"]) == ("UK", "A's car")
    # 50 s of practice: the line after 0.8 s, laps of 20 s until 20.8 s and 40.8 s.
    assert first["practice_s"] == pytest.approx([20.0, 20.0])
    assert first["attempts"] == [{"laps_s": [pytest.approx(20.0)], "disqualified": None}]
    heats = [
        (each["stage"], [who[racer] for racer in each["racers"]]) for each in written["heats"]
    ]
    assert heats[:3] == [(1, ["A"]), (1, ["B", "E"]), (1, ["C", "D"])]
    run = {who[racer]: each for racer, each in written["heats"][1]["runs"][0].items()}
    assert run["E"] == {"laps_s": [], "disqualified": "out of bounds"}
    assert len(run["B"]["laps_s"]) == 3
    # Guids are secrets: who knows one can take its racer's place.
    assert "aaa" not in text
    assert first["identity"].startswith("guid:")


def test_an_evening_killed_at_any_stage_ends_alike(tmp_path: Path) -> None:
    kept: dict[Stage, str] = {}
    rules = rules_in(tmp_path)
    evening, path = results.begin(COURSE.name, rules)

    def save(now: Evening) -> bool:
        results.save(now, path)
        kept.setdefault(now.stage, path.read_text(encoding="utf-8"))
        return True

    hall = Hall(rules, evening, save)
    for racer in racers():
        hall.join(racer)
    hall.run_to(Stage.COMPLETE)
    assert set(kept) == set(Stage)
    for stage, text in kept.items():
        path.write_text(text, encoding="utf-8")
        again, same = open_hall(rules_in(tmp_path, resume=True))
        assert same == path
        fallen_back = Stage(stage.replace("_race", "_pre_race")) if is_race(stage) else stage
        assert again.evening.stage is fallen_back
        for racer in racers():
            again.join(racer)
        again.run_to(Stage.COMPLETE)
        assert again.names(again.evening.standings) == EXPECTED, stage


def is_race(stage: Stage) -> bool:
    return stage in (Stage.STAGE_1_RACE, Stage.STAGE_2_RACE)


def test_a_new_evening_never_overwrites_an_old_one(tmp_path: Path) -> None:
    rules = rules_in(tmp_path)
    names = [open_hall(rules)[1].name for _ in range(3)]
    assert names == ["evening.json", "evening-2.json", "evening-3.json"]
    assert len(list(tmp_path.iterdir())) == 3


def test_the_newest_evening_is_continued(tmp_path: Path) -> None:
    for _ in range(2):
        hall, path = open_hall(rules_in(tmp_path))
    hall.join(racers()[0])
    results.save(hall.evening, path)
    again, same = open_hall(rules_in(tmp_path, resume=True))
    assert same.name == "evening-2.json"
    assert [each.name for each in again.evening.competitors] == [racers()[0].name]


def test_an_evening_that_was_put_away_leaves_the_order_of_the_others(tmp_path: Path) -> None:
    names = [open_hall(rules_in(tmp_path))[1] for _ in range(3)]
    names[0].unlink()
    names[1].unlink()
    assert open_hall(rules_in(tmp_path, resume=True))[1].name == "evening-3.json"
    assert open_hall(rules_in(tmp_path))[1].name == "evening-4.json"
    # Names that a person has given to what was put away.
    for name in ("evening-2026.json", "evening-0412.json", "evening-1.json", "evening-x.json"):
        names[2].rename(tmp_path / name)
        names[2] = tmp_path / name
        assert open_hall(rules_in(tmp_path, resume=True))[1].name == "evening-4.json"


class Disk:
    """Takes evenings, unless it is full."""

    def __init__(self) -> None:
        self.is_full = True
        self.taken: list[Stage] = []

    def save(self, evening: Evening) -> bool:
        if not self.is_full:
            self.taken.append(evening.stage)
        return not self.is_full


def test_what_a_full_disk_did_not_take_is_written_later(tmp_path: Path) -> None:
    disk = Disk()
    hall = Hall(rules_in(tmp_path), None, disk.save)
    for racer in racers():
        hall.join(racer)
    hall.run_to(Stage.COMPLETE)
    assert not disk.taken
    disk.is_full = False
    hall.run(30.0)
    hall.referee.close()
    # Once: what is written needs no second time.
    assert disk.taken == [Stage.COMPLETE]


def test_what_a_full_disk_did_not_take_is_written_when_the_server_ends(tmp_path: Path) -> None:
    disk = Disk()
    hall = Hall(rules_in(tmp_path), None, disk.save)
    hall.join(racers()[0])
    disk.is_full = False
    hall.referee.close()
    assert disk.taken == [Stage.PRACTICE]


def test_resume_without_a_file_begins_a_new_evening(tmp_path: Path) -> None:
    hall, path = open_hall(rules_in(tmp_path / "new", resume=True))
    assert hall.evening.stage is Stage.PRACTICE
    assert path.name == "evening.json"


def test_an_evening_is_continued_on_its_own_track_only(tmp_path: Path) -> None:
    rules = rules_in(tmp_path, resume=True)
    open_hall(rules)
    with pytest.raises(InputError, match="driven on 'circle'"):
        results.begin("warehouse", rules)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    hall, path = open_hall(rules_in(tmp_path))
    before = path.read_bytes()
    # A folder in its place cannot be replaced by a file.
    blocked = tmp_path / "blocked.json"
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(StorageError, match="could not be written"):
        results.save(hall.evening, blocked)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["blocked.json", "evening.json"]


def test_an_evening_that_could_not_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results.moving, "moved", full)
    with pytest.raises(StorageError, match="No space left"):
        results.begin("circle", rules_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def whole(tmp_path: Path) -> dict[str, Any]:
    hall, path = open_hall(rules_in(tmp_path))
    for racer in field(2):
        hall.join(racer)
    hall.run_to(Stage.STAGE_2_PRE_RACE)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda evening: evening.update({key: value})


DAMAGE: dict[str, Callable[[dict[str, Any]], None]] = {
    "format": _set("format", 2),
    "extra": _set("hidden", 1),
    "stage": _set("stage", "party"),
    "heat that does not exist": _set("heat", 9),
    "nobody qualified": _set("qualified", []),
    "stranger": _set("standings", ["guid:stranger"]),
    "not in the ladder": _set("seeds", []),
    "twice": lambda evening: evening["competitors"].append(evening["competitors"][0]),
    "too many": lambda evening: evening["competitors"][0].update(practice_s=[20.0] * 201),
    "negative lap": lambda evening: evening["competitors"][0].update(practice_s=[-1.0]),
    "long name": lambda evening: evening["competitors"][0].update(name="A" * 65),
    "foreign winner": lambda evening: evening["heats"][0].update(winner="guid:stranger"),
    "other racers": lambda evening: evening["heats"][0].update(runs=[{}]),
    "solo against oneself": lambda evening: evening["heats"][1].update(
        racers=[evening["seeds"][0]] * 2
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_file_is_not_trusted(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "changed.json"
    evening = whole(tmp_path)
    path.write_text(json.dumps(evening), encoding="utf-8")
    results.load(path)
    DAMAGE[damage](evening)
    path.write_text(json.dumps(evening), encoding="utf-8")
    with pytest.raises(InputError, match="holds no race results that can be continued"):
        results.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"track":NaN}', b"[" * 100_000, b"null"]
)
def test_what_is_no_record_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        results.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        results.load(tmp_path / "missing.json")


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(results.MOST_BYTES + 1)
    with pytest.raises(InputError, match="at most"):
        results.load(path)


def test_the_results_are_a_json_file() -> None:
    from donkey_rl import configuration

    with pytest.raises(ConfigurationError, match=r"results.*\.json"):
        configuration.validate(RaceRules, {"results": "evening.xml"})
