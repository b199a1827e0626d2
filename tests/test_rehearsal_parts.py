"""What a rehearsal is made of beside its link: standings, opponents, stalls, the hammer, words."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from donkey_rl import cli
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.race_server import team
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal import field, outcome, racer_process, staging
from donkey_rl.race_server.rehearsal import stalls as stalling
from donkey_rl.race_server.rehearsal.checks import Return, Violation
from donkey_rl.race_server.rehearsal.faults import Fault, Injected
from donkey_rl.race_server.rehearsal.hammer import Hammer
from donkey_rl.race_server.rehearsal.racers import Racers
from donkey_rl.race_server.rehearsal.sightings import CommandSeen, FrameSeen, Sightings
from donkey_rl.race_server.rehearsal.stalls import Stalls
from tests import race_evening


def test_standings_are_the_hosts_with_those_who_never_qualified_behind() -> None:
    hall = race_evening.Hall()
    for racer in race_evening.field(4):
        hall.join(racer)
    hall.run_to(race_evening.Stage.COMPLETE)
    found = outcome.standings(hall.evening, hall.evening.competitors[1].identity)
    assert [each.name for each in found] == hall.names(hall.evening.standings)
    assert [each.name for each in found if each.ours] == ["B"]
    assert found[0].best_lap_s == pytest.approx(20.0, abs=0.01)
    # A heat of stage 1, and two of the ladder for those in the final.
    assert [each.laps for each in found] == [9, 9, 6, 6]
    assert outcome.best_so_far(hall.evening).endswith("s by A")
    hall.evening.standings = hall.evening.standings[:3]
    hall.evening.qualified = hall.evening.qualified[:3]
    last = outcome.standings(hall.evening)[-1]
    assert last.dq
    assert last.name not in hall.names(hall.evening.standings)


def test_faults_are_summed_up_by_kind() -> None:
    silences = [Injected(Fault("silence", 2.0, ways=("up",)), at, at + 2.0) for at in (1.0, 9.0)]
    kill = Injected(Fault("host killed", 1.0), 20.0, 25.0)
    returns = [
        Return(silences[0], 0.5, "moving"),
        Return(silences[1], 1.5, "connected"),
        Return(kill, None, "did not connect"),
    ]
    broken = [Violation(30.0, "rule", "text", str(kill.fault))]
    found = outcome.summary(returns, broken, [*silences, kill])
    assert found["silence"].model_dump() == {
        "injected": 2,
        "moving": 1,
        "connected": 1,
        "slowest_back_s": 1.5,
        "violations": 0,
    }
    assert (found["host killed"].slowest_back_s, found["host killed"].violations) == (None, 1)


def test_opponents_are_somebody_each_and_slower_one_by_one() -> None:
    ours = RaceConfig(driver="lap18", scene="warren", racer_name="Ada")
    found = field.opponents(ours, 3, (), throttle=0.2)
    assert len({each.guid for each in found} | {each.racer_name for each in found}) == 6
    assert [each.driver for each in found] == ["lap18"] * 3
    limits = [each.limits.throttle_max for each in found]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] < 0.2
    named = field.opponents(ours, 3, ("a", "b"), throttle=0.2)
    assert [each.driver for each in named] == ["a", "b", "a"]
    assert {each.limits.throttle_max for each in named} == {0.2}
    with pytest.raises(InputError, match="At most 7 opponents"):
        field.opponents(ours, 8, (), 0.2)


def test_a_car_keeps_its_guid_and_gets_the_rehearsals_address(tmp_path: Path) -> None:
    ours = field.known(RaceConfig(host="race.example.org", driver="lap18"))
    assert ours.guid
    assert field.known(ours).guid == ours.guid
    here = field.placed(ours, 4711, tmp_path, ours=True)
    assert (here.host, here.port, here.guid) == ("127.0.0.1", 4711, ours.guid)
    assert here.page is not None
    assert here.drive is not None
    assert field.placed(ours, 4711, tmp_path).page is None
    assert staging.identity(ours).startswith("guid:")


class Clock:
    """Time that passes for who sleeps."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("how", ["late", "not finite", "raises"])
def test_a_driver_stalls_for_its_time(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls = Stalls()
    action = np.array([0.5, 0.5], np.float32)
    assert stalls.answer(lambda: action) is action
    clock = Clock()
    monkeypatch.setattr(stalling, "time", clock)
    stalls.begin(how, 0.2)  # type: ignore[arg-type]
    if how == "raises":
        with pytest.raises(RuntimeError, match="rehearsed"):
            stalls.answer(lambda: action)
    elif how == "not finite":
        assert np.isnan(stalls.answer(lambda: action)).all()
    else:
        assert stalls.answer(lambda: action) is action
        assert clock.now == pytest.approx(100.2)
    clock.now = 100.21
    assert stalls.answer(lambda: action) is action


class Careless(http.server.BaseHTTPRequestHandler):
    """A page that follows every order."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 100))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def careless() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_hammer_finds_a_page_that_follows_strangers(careless: str) -> None:
    # On a busy machine few requests fit into half a second.
    for seconds in (0.5, 5.0, 30.0):
        hammer = Hammer(careless, seconds)
        hammer.run()
        if hammer.statuses["200"] and hammer.taken and hammer.statuses["501"]:
            break
    assert hammer.statuses["200"] > 0
    assert hammer.taken > 0
    # A method that nobody knows.
    assert hammer.statuses["501"] > 0


def test_racers_that_cannot_race_say_why(tmp_path: Path) -> None:
    wrong = RaceConfig(driver=str(tmp_path / "nowhere"), page=None, records=tmp_path)
    with pytest.raises(InputError, match="nowhere"), Racers([wrong], tmp_path / "log"):
        pass


def test_racers_that_do_not_come_up_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(racers: Racers, words: object) -> None:
        raise DonkeyRLError("The racers' process has ended.")

    monkeypatch.setattr(Racers, "_say", fail)
    racers = Racers([RaceConfig(page=None, records=tmp_path)], tmp_path / "log")
    with pytest.raises(DonkeyRLError, match="has ended"), racers:
        pass
    assert racers._process is not None
    assert racers._process.poll() is not None
    assert not [each for each in racers._threads if each.is_alive()]


def test_racers_of_which_one_does_not_fit_its_host_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raced = team.CarResult(
        car="b", driver="d", laps=0, best_lap_s=None, disconnects=0, frames=0, latency_ms={},
        faults={}, record=Path("b"), failure="It fits not.", is_input=True,
    )  # fmt: skip
    monkeypatch.setattr(team, "race", lambda *_, **__: (raced,))
    monkeypatch.setattr(racer_process, "_put_between", lambda stalls: None)
    answers = io.StringIO()
    racer_process.race(io.StringIO('{"configs": [{}]}\n'), answers)
    assert json.loads(answers.getvalue()) == {"refused": "b: It fits not."}


def test_what_was_seen_is_kept_for_people(tmp_path: Path) -> None:
    seen = Sightings()
    seen.note("go")
    seen.frames.append(FrameSeen(0.5, 0, float("nan"), 1.0, whole=False))
    seen.commands.append(CommandSeen(0.25, 0, 0.0, 0.0, 1.0))
    seen.save(tmp_path / "link.jsonl")
    told = [json.loads(line) for line in (tmp_path / "link.jsonl").read_text().splitlines()]
    assert [each["what"] for each in told] == ["CommandSeen", "FrameSeen", "EventSeen"]
    assert told[1]["time_s"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "needs a driver"),
        (["--run", "nowhere", "--out", "."], "takes a new folder"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--run", "x", "--jitter-ms", "5000"], "jitter_ms"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["race", "rehearse", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "Traceback" not in said
