"""What a person records on an open road: one lap of it."""

from __future__ import annotations

import json
import pathlib

from donkey_rl.experiments.racing import Field
from donkey_rl.experiments.recording.person import Goal
from donkey_rl.metrics.race import Race
from tests.test_recording_page import CONFIG, DEADLINE_S, drive, driven, record


def test_the_end_of_an_open_road_reaches_the_goal_in_one_file(tmp_path: pathlib.Path) -> None:
    road = tmp_path / "short.json"
    points = [[3.0 * k, 0.0] for k in range(9)]
    road.write_text(json.dumps({"closed": False, "waypoints": points, "min_lap_s": 1}))
    field = Field(CONFIG.model_copy(update={"track": str(road)}), 1, seed=3)
    with driven(tmp_path / "races", Goal(laps=1), field) as made:
        with made.connect() as link:
            record(link)
            drive(link, lambda state: state["ended"], throttle=0.6)
        made.thread.join(DEADLINE_S)
    (file,) = made.tape.files
    race = Race.load(file)
    assert race.header.laps == 1
    assert len(race) > 10
