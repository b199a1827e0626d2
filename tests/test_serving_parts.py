"""The pieces of the served simulator by themselves, with numbers worked out by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import math

import numpy as np
import pytest

from donkey_rl.envs.link import commands
from donkey_rl.envs.serving import cone_challenge, new_road
from donkey_rl.envs.serving.clock import CATCH_UP_S, Pace
from donkey_rl.envs.serving.connection import Connection
from donkey_rl.envs.serving.lockstep import Lockstep
from donkey_rl.envs.serving.rig import Rig
from donkey_rl.envs.serving.starting_line import StartingLine
from donkey_rl.envs.simulator import track
from donkey_rl.errors import ConfigurationError


def test_being_late_does_not_move_later_deadlines() -> None:
    pace = Pace(2.0, 100.0)
    # 0.02 s of simulation are 0.01 s at twice the speed.
    assert pace.due == pytest.approx(100.01)
    pace.step(100.25)
    assert pace.due == pytest.approx(100.02)
    assert pace.slipped_s == 0.0


def test_a_long_delay_is_given_up_and_counted() -> None:
    pace = Pace(1.0, 0.0)
    pace.step(1.04)
    # The next deadline would be 0.04 s, a whole second ago: all but a third is given up.
    assert pace.slipped_s == pytest.approx(1.0 - CATCH_UP_S)
    assert pace.due == pytest.approx(1.04 - CATCH_UP_S)


def test_lock_step_waits_for_all_and_only_so_long() -> None:
    turns = Lockstep(patience_s=1.0)
    turns.ask(0, 10.0)
    turns.ask(1, 10.2)
    assert turns.wait(50.0) is None
    turns.answer(0)
    assert turns.wait(10.5) == pytest.approx(0.7)
    assert not turns.is_ready(10.5)
    turns.answer(1)
    assert turns.is_ready(10.5)
    for car in (0, 1):
        turns.ask(car, 11.0)
    turns.answer(0)
    assert turns.is_ready(12.0)
    # Car 1 is given up: the next round does not wait for it.
    for car in (0, 1):
        turns.ask(car, 12.0)
    turns.answer(0)
    assert turns.is_ready(12.0)
    turns.answer(1)
    turns.ask(0, 13.0)
    turns.ask(1, 13.0)
    turns.answer(0)
    assert not turns.is_ready(13.0)
    turns.leave(1)
    assert turns.is_ready(13.0)


def line_at(arc: float) -> StartingLine:
    """A line on the generated track (214.2 u round, road from -7.2 to 2.8)."""
    return StartingLine(dataclasses.replace(track.load("generated_track"), start_line=arc))


def test_a_body_enters_the_line_between_two_looks() -> None:
    line = line_at(50.0)
    # The body reaches 0.875 u ahead and the line 0.215 u back: contact 1.09 u before it.
    assert line.entered(1.0, 48.41, 0.0, 0.0) is None
    # 0.5 u of the 2 u driven are left to the contact: a quarter of the time.
    assert line.entered(1.04, 50.41, 0.0, 0.0) == pytest.approx(1.01)
    # Inside, and out ahead: no more events until it comes back.
    assert line.entered(1.08, 50.9, 0.0, 0.0) is None
    assert line.entered(1.12, 52.09, 0.0, 0.0) is None
    assert line.entered(1.16, 50.09, 0.0, 0.0) == pytest.approx(1.14)


def test_a_fast_car_does_not_jump_over_the_line() -> None:
    line = line_at(50.0)
    assert line.entered(0.0, 48.0, 0.0, 0.0) is None
    # From 2 u before to 2 u behind it: contact after 0.91 of 4 u.
    assert line.entered(0.04, 52.0, 0.0, 0.0) == pytest.approx(0.04 * 0.91 / 4.0)


def test_the_line_is_found_across_the_end_of_the_path() -> None:
    line = line_at(0.5)
    length = track.load("generated_track").length
    assert line.entered(0.0, length - 2.0, 0.0, 0.0) is None
    # 2.5 u before the line, then 0.5 u: 1.41 u of 2 u to the contact.
    assert line.entered(1.0, 0.0, 0.0, 0.0) == pytest.approx(1.41 / 2.0)


def test_beside_the_road_there_is_no_line_and_a_car_across_enters_later() -> None:
    line = line_at(50.0)
    assert line.entered(0.0, 48.0, 6.0, 0.0) is None
    assert line.entered(1.0, 50.0, 6.0, 0.0) is None
    across = line_at(50.0)
    # Across the road the body reaches 0.5 u: contact 0.715 u before the line.
    assert across.entered(0.0, 48.285, 0.0, math.pi / 2) is None
    assert across.entered(1.0, 50.285, 0.0, math.pi / 2) == pytest.approx(0.5)


def test_a_car_put_onto_the_line_has_not_driven_into_it() -> None:
    line = line_at(50.0)
    line.entered(0.0, 40.0, 0.0, 0.0)
    line.forget()
    assert line.entered(1.0, 50.0, 0.0, 0.0) is None
    assert line.entered(2.0, 50.1, 0.0, 0.0) is None


def camera(**changed: float | int | str) -> commands.CamConfig:
    nothing = dict.fromkeys(
        ("fov", "offset_x", "offset_y", "offset_z", "rot_x", "fish_eye_x", "fish_eye_y"), 0.0
    )
    sizes = dict.fromkeys(("img_w", "img_h", "img_d"), 0)
    return commands.CamConfig(**({**nothing, **sizes, "img_enc": ""} | changed))  # type: ignore[arg-type]


def test_zero_leaves_a_camera_as_it_is_and_groups_are_set_whole() -> None:
    rig = Rig()
    before = rig.eye
    rig.configure_camera(camera())
    assert rig.eye == before
    rig.configure_camera(camera(offset_z=1.0))
    # One offset sets all three: the camera is on the level of the car's origin.
    assert (rig.eye.camera.offset_x, rig.eye.camera.offset_y) == (0.0, 0.0)
    assert rig.eye.camera.rot_x == 15.0
    rig.configure_camera(camera(rot_y=5.0))
    assert (rig.eye.camera.rot_x, rig.eye.camera.rot_y) == (0.0, 5.0)
    rig.configure_camera(camera(img_w=64))
    # A width without a height is no size.
    assert rig.eye.camera.shape == (120, 160, 3)
    rig.configure_camera(camera(fish_eye_x=0.3))
    rig.configure_camera(camera())
    assert (rig.eye.camera.fish_eye_x, rig.eye.camera.fish_eye_y) == (0.3, 0.0)


def test_the_second_camera_starts_beside_the_first() -> None:
    rig = Rig()
    fields = dataclasses.asdict(camera(fov=60.0))
    rig.configure_camera(commands.CamConfigB(**fields))
    assert rig.eye_b is not None
    assert (rig.eye_b.camera.offset_x, rig.eye_b.camera.fov) == (0.452, 60.0)
    assert rig.eye.camera.fov == 90.0


def test_a_lidar_keeps_its_place_at_zero_and_refuses_what_cannot_be() -> None:
    rig = Rig()
    sweep = {"degPerSweepInc": 2.0, "degAngDown": 25.0, "degAngDelta": -1.0, "noise": 0.0}
    place = dict.fromkeys(("offset_x", "offset_y", "offset_z", "rot_x"), 0.0)
    rig.configure_lidar(commands.LidarConfig(**sweep, **place, numSweepsLevels=4, maxRange=20.0))
    assert rig.lidar is not None
    assert (rig.lidar.offset_y, rig.lidar.offset_z) == (0.372, 0.737)
    assert (rig.lidar.numSweepsLevels, rig.lidar.maxRange) == (4, 20.0)


def test_a_half_character_in_a_name_does_no_harm() -> None:
    rig = Rig()
    rig.configure_body(commands.CarConfig("f1", 1, 2, 3, "A\ud800B"))
    assert rig.name == "A?B"
    assert rig.colour == (1, 2, 3)


@pytest.mark.parametrize("encoding", ["BMP", "XYZ"])
def test_an_unknown_encoding_is_refused_whole(encoding: str) -> None:
    rig = Rig()
    before = rig.eye
    with pytest.raises(ConfigurationError, match="JPG, PNG, TGA"):
        rig.configure_camera(camera(img_enc=encoding, fov=60.0))
    assert rig.eye == before


def test_cones_stand_around_the_middle_of_the_road_by_their_seed() -> None:
    road = track.load("generated_track")
    places = cone_challenge.places(road, 50, seed=1)
    assert places.shape == (50, 2)
    assert np.array_equal(places, cone_challenge.places(road, 50, seed=1))
    assert not np.array_equal(places, cone_challenge.places(road, 50, seed=2))
    # The middle of -7.2 to 2.8 lies 2.2 u to the left; cones at most 5 u off on each axis.
    _, lateral = road.path.locate(places)
    assert np.abs(lateral + 2.2).max() <= 5.0 * math.sqrt(2.0) + 0.1
    assert cone_challenge.places(road, 0, seed=1).shape == (0, 2)


def test_a_new_road_has_the_width_of_its_style() -> None:
    old = track.load("generated_road")
    wide = new_road.lay(old, commands.RegenRoad(1, 7, 2.0), 2.0)
    # Style 1: 6 u to the left, half width 12.
    assert (wide.road_left, wide.road_right) == (-18.0, 6.0)
    edges = [stripe for stripe in wide.stripes if stripe.material == "edge_line"]
    # The lines keep their 0.89 and 0.86 u to the edges.
    assert edges[0].start == pytest.approx(-18.0 + 0.89)
    assert edges[1].end == pytest.approx(6.0 - 0.86)
    assert np.hypot(*(wide.nodes[1] - wide.nodes[0])) == pytest.approx(2.0)
    again = new_road.lay(wide, commands.RegenRoad(5, 7, 2.0), 2.0)
    # Style 5 is style 0 again; the same seed gives the same path.
    assert (again.road_left, again.road_right) == (-7.0, 3.0)
    assert np.array_equal(again.nodes, wide.nodes)
    assert not new_road.is_random(track.load("generated_track"))


class Pipe(asyncio.Transport):
    """A transport that only says whether it is read from."""

    is_read = True

    def get_extra_info(self, name: str, default: object = None) -> None:
        """Nothing is known of it."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It holds anything."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class Counting:
    """Whoever answers a client, and only counts what it says."""

    heard = 0

    def arrived(self, connection: Connection) -> None:
        pass

    def received(self, connection: Connection, command: object) -> None:
        self.heard += 1

    def left(self, connection: Connection) -> None:
        pass


def test_who_sends_much_at_once_leaves_room_for_the_others() -> None:
    async def flood() -> list[int]:
        owner, pipe = Counting(), Pipe()
        connection = Connection(owner, 2022, tolerant=True)
        connection.connection_made(pipe)
        connection.data_received(b'{"msg_type": "reset_car"}' * 100)
        heard = [owner.heard]
        while not pipe.is_read:
            await asyncio.sleep(0)
            heard.append(owner.heard)
        return heard

    heard = asyncio.run(flood())
    assert heard[-1] == 100
    assert max(np.diff([0, *heard])) <= 16
