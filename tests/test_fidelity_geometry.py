"""Which track a recording was driven on; recorded against computed cte and progress."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from donkey_rl.envs.recordings import trace as traces
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.experiments.fidelity import geometry
from donkey_rl.experiments.fidelity.geometry import GeometryReport, Match
from tests import synthetic_recordings as synthetic
from tests import weaving_recordings as weaving
from tests.synthetic_recordings import Recorder

SCENES = ("generated_track", "warehouse", "mountain_track")


@functools.cache
def driven(
    track: str = "generated_track", vehicle: str = "donkey_2021", seconds: float = 16.0
) -> Recording:
    """A drive of the embedded car with a record for each message, as reported."""
    truth = synthetic.drive(seconds, track=track, vehicle=vehicle, frames=False)
    rows = synthetic.records(truth, Recorder())
    table = {key: np.array([row[key] for row in rows]) for key in rows[0] if key != "frame"}
    return Recording(
        name=track,
        time_s=table["time_s"],
        position=np.stack([table["pos_x"], table["pos_y"], table["pos_z"]], axis=1),
        speed=table["speed"],
        cte=table["cte"],
        steering=table["steering"],
        throttle=table["throttle"],
        frames=(None,) * len(rows),
    )


def without_cte(recording: Recording) -> Recording:
    return dataclasses.replace(recording, cte=np.full(len(recording), np.nan))


def mirrored(recording: Recording) -> Recording:
    """The drive as seen in a mirror: a road that no scene has."""
    return dataclasses.replace(
        recording, position=recording.position * [-1.0, 1.0, 1.0], cte=-recording.cte
    )


def identify(recording: Recording, *names: str) -> Match:
    match = geometry.identify([(recording, traces.trace(recording))], names or None)
    assert match is not None
    return match


def compare(recording: Recording, track: str = "generated_track") -> GeometryReport:
    return geometry.compare(recording, traces.trace(recording), tracks.load(track))


# Which track.


@pytest.mark.parametrize("known", [True, False], ids=["cte", "no-cte"])
@pytest.mark.parametrize(("vehicle", "scale"), [("donkey_2021", 1.0), ("donkey_2022", 8.0)])
@pytest.mark.parametrize("scene", SCENES)
def test_track_and_unit_are_found(scene: str, vehicle: str, scale: float, known: bool) -> None:
    recording = driven(scene, vehicle)
    match = identify(recording if known else without_cte(recording))
    assert (match.name, match.scale) == (scene, scale)
    assert geometry.fits(match)
    assert match.distance < 0.1
    assert match.angle < 0.05
    if known:
        assert match.agreement is not None
        assert match.agreement > 0.9
    else:
        assert match.agreement is None


@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.parametrize("scene", ["mini_monaco", "circuit_launch"])
def test_a_weaving_car_is_found_by_its_places_alone(scene: str, scale: float) -> None:
    """Divided by 8 they all lie nearer to another road's path, but lead across that road."""
    weave = weaving.weave(tracks.load(scene), 24.0, middle=3.0, swing=2.0, wave=30.0)
    match = identify(without_cte(weave.recording.scaled(1.0 / scale)))
    assert (match.name, match.scale) == (scene, scale)
    assert geometry.fits(match)
    # Directions of a wave of 2 u in 30 u: at most atan(0.42) = 0.40 rad, 0.29 in the median.
    assert match.angle == pytest.approx(0.3, abs=0.05)


def test_several_recordings_are_identified_together() -> None:
    long, short = driven(), driven(seconds=4.0)
    drives = [(each, traces.trace(each)) for each in (short, long)]
    match = geometry.identify(drives)
    assert match is not None
    assert (match.name, match.scale) == ("generated_track", 1.0)


@pytest.mark.parametrize("known", [True, False], ids=["cte", "no-cte"])
def test_a_drive_seen_in_a_mirror_fits_no_track(known: bool) -> None:
    recording = mirrored(driven())
    match = identify(recording if known else without_cte(recording))
    assert not geometry.fits(match)


@pytest.mark.parametrize("other", ["warehouse", "mountain_track", "generated_road", "thunderhill"])
def test_a_drive_does_not_fit_another_track(other: str) -> None:
    assert not geometry.fits(identify(driven(), other))


def test_a_drive_beyond_the_end_of_an_open_road_does_not_fit() -> None:
    """The road's last direction goes on for ever; the road does not."""
    road = tracks.load("generated_road")
    x, z, yaw = (float(value) for value in road.path.at(road.length))
    way = 20.0 + np.arange(200.0)
    place = np.column_stack([x + way * np.sin(yaw), np.zeros(200), z + way * np.cos(yaw)])
    recording = dataclasses.replace(
        weaving.weave(road, 12.0).recording,
        position=place,
        speed=np.full(200, 1.0 / weaving.PERIOD),
        cte=np.full(200, np.nan),
    )
    assert not geometry.fits(identify(recording, "generated_road"))


@pytest.mark.parametrize(
    ("scene", "other"),
    [("warehouse", "roboracingleague_1"), ("mountain_track", "circuit_launch")],
    ids=["by-cte", "by-direction"],
)
def test_small_drives_that_lie_on_a_road_do_not_fit(scene: str, other: str) -> None:
    """Less than 3 u off, but with a cte of elsewhere, or driven across the road."""
    match = identify(mirrored(driven(scene, "donkey_2022")), other)
    assert match.scale == 1.0
    assert match.distance < 3.0
    assert not geometry.fits(match)


def test_names_limit_the_choice() -> None:
    match = identify(driven(), "warehouse", "mountain_track")
    assert match.name in {"warehouse", "mountain_track"}


def test_the_wrong_way_round_is_the_same_track() -> None:
    forward = driven()
    backward = dataclasses.replace(
        forward, position=forward.position[::-1], speed=forward.speed[::-1], cte=forward.cte[::-1]
    )
    match = identify(backward)
    assert (match.name, match.scale) == ("generated_track", 1.0)
    assert geometry.fits(match)


def test_a_car_off_the_road_fits_if_its_cte_says_so() -> None:
    """The road of generated_track ends 2.8 u to the right of the path."""
    weave = weaving.weave(tracks.load("generated_track"), 24.0, middle=8.0, swing=1.0).recording
    match = identify(weave)
    assert (match.name, match.scale) == ("generated_track", 1.0)
    assert geometry.fits(match)
    assert match.distance < 0.1
    assert not geometry.fits(identify(without_cte(weave), "generated_track"))


def test_tracks_that_begin_alike_are_told_apart() -> None:
    """Warehouse and generated_track begin with the same straight, for 6 of these 11 seconds."""
    assert not geometry.fits(identify(driven(seconds=11.0), "warehouse"))


def test_a_standing_car_is_found_by_its_place() -> None:
    recording = dataclasses.replace(
        driven(),
        position=np.tile(driven().position[-1], (len(driven()), 1)),
        speed=np.zeros(len(driven())),
    )
    match = identify(recording)
    assert (match.name, match.angle) == ("generated_track", 0.0)


def test_without_places_there_is_no_match() -> None:
    recording = dataclasses.replace(driven(), position=np.full((len(driven()), 3), np.nan))
    assert geometry.identify([(recording, traces.trace(recording))]) is None
    assert geometry.identify([]) is None


# Cross-track error.


@pytest.mark.parametrize("scene", SCENES)
def test_the_recorded_cte_is_that_of_the_computed_path(scene: str) -> None:
    report = compare(driven(scene), scene)
    assert report.reason is None
    assert report.cte.samples + report.cte.dropped == len(driven(scene))
    assert report.cte.correlation is not None
    assert report.cte.correlation > 0.9999
    assert report.cte.mean_difference == pytest.approx(0.0, abs=1e-3)
    assert report.cte.bias == pytest.approx(0.0, abs=1e-3)
    assert report.cte.largest_difference is not None
    assert report.cte.largest_difference < 0.02


def test_figures_of_the_cte_are_what_they_say() -> None:
    """A cte that is 0.5 u too small throughout: bias, mean and largest are 0.5 u."""
    recording = driven()
    report = compare(dataclasses.replace(recording, cte=recording.cte - 0.5))
    assert report.cte.correlation is not None
    assert report.cte.correlation > 0.999
    assert report.cte.bias == pytest.approx(0.5, abs=1e-3)
    assert report.cte.mean_difference == pytest.approx(0.5, abs=1e-3)
    assert report.cte.largest_difference == pytest.approx(0.5, abs=2e-3)


def test_a_cte_from_elsewhere_is_worse() -> None:
    """The cte of another place along the drive."""
    recording = driven()
    report = compare(dataclasses.replace(recording, cte=np.roll(recording.cte, 60)))
    assert report.cte.correlation is not None
    assert report.cte.correlation < 0.5
    assert report.cte.mean_difference is not None
    assert report.cte.mean_difference > 0.1


def test_positions_beside_the_track_show_in_the_cte() -> None:
    recording = driven()
    beside = recording.position + np.array([1.0, 0.0, 0.0])
    report = compare(dataclasses.replace(recording, position=beside))
    assert report.cte.mean_difference is not None
    assert 0.3 < report.cte.mean_difference < 1.0


def test_zeros_of_a_moving_car_are_dropped_and_counted() -> None:
    recording = driven()
    moving = np.flatnonzero((recording.speed > 2.0) & (recording.cte != 0.0))
    cte = recording.cte + 0.5
    cte[moving[::10]] = 0.0
    spoilt = compare(dataclasses.replace(recording, cte=cte))
    assert spoilt.cte.dropped == len(moving[::10])
    assert spoilt.cte.samples == len(recording) - len(moving[::10])
    assert spoilt.cte.correlation is not None
    assert spoilt.cte.correlation > 0.999
    assert spoilt.cte.largest_difference == pytest.approx(0.5, abs=0.01)


def test_zeros_of_a_standing_car_are_kept() -> None:
    """On the start grid a cte of 0 may be true."""
    recording = dataclasses.replace(driven(), speed=np.full(len(driven()), 0.5))
    cte = recording.cte.copy()
    cte[::7] = 0.0
    assert compare(dataclasses.replace(recording, cte=cte)).cte.dropped == 0


@pytest.mark.parametrize(
    ("cte", "reason"),
    [
        (np.nan, "0 records with a cte, at least 10 needed"),
        (0.0, "records with a cte, at least 10 needed"),
        (0.3, "the cte hardly changes"),
    ],
)
def test_a_cte_that_says_nothing_gives_a_reason(cte: float, reason: str) -> None:
    fast = driven().speed > 2.0
    recording = driven()
    chosen = dataclasses.replace(
        recording,
        time_s=recording.time_s[fast],
        position=recording.position[fast],
        speed=recording.speed[fast],
        cte=np.full(int(fast.sum()), cte),
        steering=recording.steering[fast],
        throttle=recording.throttle[fast],
        frames=(None,) * int(fast.sum()),
    )
    report = compare(chosen)
    assert report.cte.correlation is None
    assert report.reason is not None
    assert reason in report.reason
    # Progress needs no cte.
    assert report.progress.correlation is not None


# Progress.


def test_progress_is_the_way_driven() -> None:
    report = compare(driven()).progress
    truth = synthetic.drive(16.0, frames=False)
    way = float(np.sum(0.5 * (truth.speed[1:] + truth.speed[:-1]) * np.diff(truth.time)))
    # The car keeps within half a unit of the path, whose radii are 10 u and more.
    assert report.way_u == pytest.approx(way, rel=0.02)
    assert report.progress_u == pytest.approx(report.way_u, rel=2e-3)
    assert report.laps == pytest.approx(way / tracks.load("generated_track").length, rel=0.02)
    assert report.correlation is not None
    assert report.correlation > 0.99


def test_more_than_a_lap_counts_on() -> None:
    """Along the path 8 u/s for the time of two laps."""
    small = tracks.load("waveshare")
    weave = weaving.weave(small, 2.0 * small.length / 8.0 + weaving.PERIOD, swing=0.3)
    report = compare(weave.recording, "waveshare").progress
    assert report.laps == pytest.approx(2.0, abs=0.01)


def test_progress_goes_down_the_wrong_way_round() -> None:
    weave = weaving.weave(tracks.load("generated_track"), 12.0, swing=0.5).recording
    backward = dataclasses.replace(weave, position=weave.position[::-1], speed=weave.speed[::-1])
    report = compare(backward).progress
    # 200 records are 199 steps of 0.48 u.
    assert report.progress_u == pytest.approx(-95.5, abs=1.0)
    assert report.way_u == pytest.approx(-95.5, abs=1.0)


def test_a_reset_to_elsewhere_is_no_progress() -> None:
    first, again = driven(), driven(seconds=4.0)
    both = Recording(
        name="both",
        time_s=np.concatenate([first.time_s, first.time_s[-1] + 0.1 + again.time_s]),
        position=np.concatenate([first.position, again.position]),
        speed=np.concatenate([first.speed, again.speed]),
        cte=np.concatenate([first.cte, again.cte]),
        steering=np.concatenate([first.steering, again.steering]),
        throttle=np.concatenate([first.throttle, again.throttle]),
        frames=(None,) * (len(first) + len(again)),
    )
    assert len(traces.trace(both).stretches()) == 2
    report = compare(both)
    parts = [compare(each).progress.progress_u for each in (first, again)]
    assert None not in parts
    assert report.progress.progress_u == pytest.approx(sum(filter(None, parts)), abs=0.01)
    assert report.cte.largest_difference is not None
    assert report.cte.largest_difference < 0.02


# Poor recordings.


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_too_few_places_give_a_reason(count: int) -> None:
    weave = weaving.weave(tracks.load("generated_track"), weaving.PERIOD * (count + 0.4))
    report = compare(weave.recording)
    assert report.reason == f"{count} fresh positions, at least 10 needed"
    assert report.cte.correlation is None
    assert report.progress.laps is None


def trembling(recording: Recording) -> Recording:
    """A car that stands and trembles on its springs."""
    height = 0.55 + 0.001 * (np.arange(len(recording)) % 2)
    place = np.tile(recording.position[0], (len(recording), 1))
    place[:, 1] = height
    return dataclasses.replace(recording, position=place, speed=np.zeros(len(recording)))


def test_a_car_that_only_stands_makes_no_way() -> None:
    recording = trembling(driven())
    trace = traces.trace(recording)
    assert len(trace) == len(recording)
    assert np.isnan(trace.course).all()
    report = compare(recording)
    assert report.progress.way_u == 0.0
    assert report.progress.progress_u == pytest.approx(0.0, abs=0.5)
    assert report.progress.correlation is None
    assert report.cte.correlation is None
    assert report.reason is not None


def test_a_drive_without_speeds_is_measured_by_the_clock() -> None:
    recording = dataclasses.replace(driven(), speed=np.full(len(driven()), np.nan))
    report = compare(recording)
    assert report.cte.correlation is not None
    assert report.cte.correlation > 0.999
    assert report.progress.progress_u == pytest.approx(report.progress.way_u, rel=0.01)


def test_stale_records_are_left_out() -> None:
    recording = driven()
    held = np.arange(len(recording)) // 3 * 3
    stale = dataclasses.replace(
        recording,
        position=recording.position[held],
        speed=recording.speed[held],
        cte=recording.cte[held],
    )
    report = compare(stale)
    # The car stands in the first messages, before the first command arrives.
    assert report.cte.samples + report.cte.dropped == pytest.approx(len(recording) / 3, abs=3)
    # The simulator's path index went on with each message, not with each fresh record.
    assert report.cte.correlation is not None
    assert report.cte.correlation > 0.97
    assert report.cte.mean_difference is not None
    assert report.cte.mean_difference < 0.02
