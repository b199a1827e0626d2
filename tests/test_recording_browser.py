"""The page that a person drives by, in a real browser with real key events."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from donkey_rl.experiments.recording import person
from donkey_rl.metrics.race import Race
from tests import chromium
from tests.test_recording_page import driven


@pytest.mark.slow
def test_keys_drive_the_car_and_the_race_holds_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A browser on a busy machine may say nothing for seconds, which would end the recording.
    monkeypatch.setattr(person, "ASLEEP_S", 60.0)
    with driven(tmp_path) as made, chromium.opened(made.page.access.url) as tab:
        tab.wait("state !== null && state.driving")
        tab.press("Enter")
        tab.wait("state.recording")
        tab.key("ArrowUp", True)
        tab.wait("state.speed > 1.5")
        tab.key("ArrowLeft", True)
        tab.wait("state.steering < -0.5")
        tab.key("ArrowLeft", False)
        tab.wait("state.recorded_s > 2.0")
        tab.key("ArrowUp", False)
        tab.key("Space", True)
        tab.wait("state.speed < 0.3")
        tab.key("Space", False)
        assert tab.value("document.getElementById('recording').hidden") is False
        tab.press("Enter")
        tab.wait("!state.recording")
        tab.press("KeyR")
        tab.press("KeyP")
        tab.wait("state.paused")
        # The page shows what it knows when it draws next.
        tab.wait("document.getElementById('notice-text').textContent.includes('Paused')")
        assert tab.errors == []
    (file,) = made.tape.files
    race = Race.load(file)
    assert race["throttle"].max() == np.float32(0.3)
    assert race["throttle"].min() < -0.5
    assert race["steering"].min() < -0.5
    assert race["progress"][-1] - race["progress"][0] > 3.0
