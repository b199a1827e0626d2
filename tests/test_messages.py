"""The messages of both directions as values."""

import dataclasses
import random

import pytest

from donkey_rl.envs.link import commands, fields, reports, wire
from donkey_rl.envs.link.decoder import StreamDecoder
from donkey_rl.errors import MessageError

SAMPLES = {
    "number": "0.5",
    "integer": "1",
    "text": 'a "é"',
}
HOSTILE = [True, None, [], [[[]]], {}, {"a": {}}, "", "x", "1e999", "9" * 5000, 10**400, -1, 2.5]
HOSTILE += [float("nan"), float("inf"), "NaN", "1,5", "é" * 5000]

REPORTS = [
    reports.Heartbeat(),
    reports.SceneSelectionReady(),
    reports.ProtocolVersion(),
    reports.SceneNames(("a", "é")),
    reports.CarLoaded(),
    reports.NeedCarConfig(),
    reports.RaceStart(),
    reports.RaceStop(),
    reports.CrossStart(12.5),
    reports.Disqualified(True),
    reports.Disqualified(False),
    reports.MissedCheckpoint(),
    reports.StartingLine(0, 1.5),
    reports.StartingLine(1, 2.5, "car"),
    reports.ConeTouched(3, 4.5, 'a "b"'),
    reports.Verified(),
    reports.PrivateKeyError("wrong"),
    reports.NodePosition(7, (1.0, 2.0, 3.0), (0.0, 0.5, 0.0, 0.5)),
]


def message_of(type_name):
    known = [commands.Command]
    for each in known:
        known += each.__subclasses__()
    return next(each for each in known if type_name == each.TYPE)


def sample(type_name):
    rules = fields.rules(message_of(type_name))
    found = {name: SAMPLES[rule.kind] for name, rule in rules.items()}
    return (
        found
        | {"msg_type": type_name}
        | {key: "16" for key in ("img_w", "img_h") if key in found}
        | ({"fov": "80"} if "fov" in found else {})
    )


@pytest.mark.parametrize("type_name", commands.types())
def test_every_command_comes_back_from_the_wire(type_name):
    command = commands.parse(sample(type_name))
    [received] = StreamDecoder().feed(commands.encode(command))
    assert all(isinstance(value, str) for value in received.values())
    assert commands.parse(received) == command


def test_controls_are_strings_all_three_and_clamped():
    whole = {"msg_type": "control", "steering": "3", "throttle": "-2", "brake": "-1"}
    assert commands.parse(whole) == commands.Control(1.0, -1.0, 0.0)
    with pytest.raises(MessageError):
        commands.parse(whole | {"steering": 0.5})
    assert commands.parse(whole | {"steering": 0.5}, strings_only=False).steering == 0.5
    del whole["brake"]
    with pytest.raises(MessageError):
        commands.parse(whole)


def test_ranges_hold_and_optional_fields_may_be_missing():
    config = sample("cam_config")
    del config["rot_y"], config["rot_z"]
    assert commands.parse(config).rot_y == 0.0
    assert commands.parse(config | {"fov": "0"}).fov == 0.0
    for name, value in (("fov", "9"), ("img_w", "513"), ("img_h", "16.0"), ("rot_x", "1,5")):
        with pytest.raises(MessageError, match=name):
            commands.parse(config | {name: value})


def test_a_car_name_has_no_braces_on_the_wire():
    command = commands.CarConfig("f1", 1, 2, 3, "{car}")
    assert commands.to_fields(command)["car_name"] == "(car)"


@pytest.mark.parametrize("report", REPORTS, ids=repr)
def test_every_report_comes_back_from_the_wire(report):
    [received] = StreamDecoder().feed(wire.encode(reports.to_fields(report)))
    assert reports.parse(received) == report


def test_hostile_values_raise_nothing_but_message_errors():
    wanted = [sample(each) for each in commands.types()]
    told = [reports.to_fields(each) for each in REPORTS if dataclasses.fields(each)]
    told.append(
        {"msg_type": "telemetry", "image": "", "time": 1, "speed": 1, "lidar": [], "cte": 0}
    )
    refused = 0
    for seed in range(2000):
        rng = random.Random(seed)
        for messages, parse in ((wanted, commands.parse), (told, reports.parse)):
            message = dict(rng.choice(messages))
            for name in rng.sample(sorted(message), rng.randrange(1, len(message) + 1)):
                message[name] = rng.choice(HOSTILE)
            try:
                parse(message)
            except MessageError:
                refused += 1
    assert refused > 1000


def test_half_a_character_in_what_was_hit_becomes_a_question_mark():
    fields = {"msg_type": "telemetry", "image": "", "time": 1, "speed": 1, "hit": "cone \ud800"}
    assert reports.parse(fields).hit == "cone ?"
