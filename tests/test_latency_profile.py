"""Measured delays from a file: played in order, and refused line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import latency_profile
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import ConfigurationError, InputError


def written(folder: Path, lines: list[str], header: str = "time_s,delay_ms") -> Path:
    path = folder / "link.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def rows(count: int) -> list[str]:
    return [f"{0.05 * k:.2f},{20 * (k % 10)}" for k in range(count)]


def test_episode_begins_at_a_random_row_and_plays_on_round_the_end(tmp_path: Path) -> None:
    path = written(tmp_path, rows(40))
    setting = configuration.validate(
        EnvironmentConfig, {"history": 6, "latency": {"profile": str(path)}}
    )
    assert setting.latency.longest_ms == 180.0
    assert setting.latency.range_ms == (0.0, 180.0)
    batch = Batch(setting, 64, seed=1)
    batch.reset(np.arange(64))
    played = []
    for _ in range(60):
        batch.step(np.zeros((64, 2)))
        played.append(batch.link.delay_ms.copy())  # type: ignore[union-attr]
    found = np.array(played)
    assert len(np.unique(found[0])) == 10
    # The file repeats itself every ten rows, also where it begins anew; only the first rows of an
    # episode have no earlier commands to wait for.
    assert (found[10:50] == found[20:]).all()
    # Delays fall from 180 ms to 0 at once: those commands wait, none overtakes another.
    arrivals = found + 50.0 * np.arange(60)[:, None]
    assert (np.diff(arrivals, axis=0) > -10.1).all()


def test_profile_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    latency_profile.write(path, [0.4 * k for k in range(25)], [100.0 + k for k in range(25)])
    found = latency_profile.read(path)
    assert found.time_s[-1] == pytest.approx(9.6)
    assert found.delay_ms.tolist() == [100.0 + k for k in range(25)]
    # At 0.5 s that of 0.4 s holds, 10 s after the beginning the first one again.
    assert found.at(np.array([0.5, 10.0, 10.5])).tolist() == [101.0, 100.0, 101.0]
    assert LatencyConfig(profile=str(path)).range_ms == (101.2, 122.8)
    drawn = LatencyConfig(profile=str(path)).draw_steps(np.random.default_rng(0), 100)
    assert set(drawn.tolist()) == {2}


def test_bad_lines_are_named_each_up_to_ten(tmp_path: Path) -> None:
    lines = rows(30)
    lines[2] = "0.10,-3"
    lines[4] = "0.20,1e9"
    lines[5] = "0.20,5"
    lines[7] = "nan,5"
    lines[9] = "0.45,5,6"
    lines[11] = "soon,5"
    lines += ["9.0,5"]
    with pytest.raises(InputError) as caught:
        latency_profile.read(written(tmp_path, lines))
    message = str(caught.value)
    for part in (
        "line 4: a delay of -3 ms is negative",
        "line 6: a delay of 1e+09 ms is beyond 1000 ms",
        "line 7: time does not go on, from 0.2 s to 0.2 s",
        "line 9: expected finite numbers, received 'nan,5'",
        "line 11: expected 2 columns, received 3",
        "line 13: expected two numbers, received 'soon,5'",
        "line 32: a gap of 7.55 s after 1.45 s, where at most 1 s",
        "donkey-rl doctor --simulator HOST:PORT --latency-profile FILE",
    ):
        assert part in message
    with pytest.raises(InputError) as caught:
        latency_profile.read(written(tmp_path, [f"{k},-1" for k in range(25)]))
    assert str(caught.value).count("negative") == 10
    assert "and 15 more" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (rows(30), "t,d", "line 1: expected the header time_s,delay_ms, received 't,d'"),
        (rows(19), "time_s,delay_ms", "has 19 rows. Expected at least 20"),
        (["0,1", "0," + "1" * 5_000_000], "time_s,delay_ms", "has 5.0 MB. Expected at most 5"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, lines: list[str], header: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        latency_profile.read(written(tmp_path, lines, header))


def test_setting_names_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    good = written(tmp_path, rows(30)).rename(tmp_path / "good.csv")
    path = written(tmp_path, [*rows(2), "0.10,-3"])
    for value, message in (
        ({"profile": str(path)}, r"latency\.profile.*line 4: a delay of -3 ms is negative"),
        ({"profile": str(tmp_path / "none.csv")}, "cannot be read: No such file"),
        ({"profile": str(good), "high_ms": 10}, "takes the place of"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            configuration.validate(EnvironmentConfig, {"history": 30, "latency": value})
    path.write_bytes(b"time_s,delay_ms\n\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as text"):
        latency_profile.read(path)


def test_an_episode_is_as_late_as_the_row_that_it_begins_with(tmp_path: Path) -> None:
    path = written(tmp_path, rows(40))
    latency = {"profile": str(path), "added_ms": 30}
    setting = configuration.validate(EnvironmentConfig, {"history": 6, "latency": latency})
    batch = Batch(setting, 64, seed=1)
    batch.reset(np.arange(64))
    begun = batch.link.episode_ms.copy()  # type: ignore[union-attr]
    batch.step(np.zeros((64, 2)))
    np.testing.assert_allclose(batch.link.delay_ms, begun, atol=10.0)  # type: ignore[union-attr]
    assert len(np.unique(begun)) == 10
