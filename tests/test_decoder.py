"""Bytes to messages: whatever is split, glued or broken."""

import json
import math
import random
import time

import pytest

from donkey_rl.envs.link.decoder import StreamDecoder

GOOD = b'{"msg_type":"car_loaded"}'
LOADED = {"msg_type": "car_loaded"}


def split(data, rng):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def decoded(pieces, **options):
    decoder = StreamDecoder(**options)
    return [each for piece in pieces for each in decoder.feed(piece)], decoder


@pytest.mark.parametrize(
    ("data", "expected", "dropped"),
    [
        (GOOD + GOOD, [LOADED, LOADED], {}),
        (b" \r\n" + GOOD + b"\n\n{}\n", [LOADED, {}], {}),
        (b'{"msg_type":"DQ"' + GOOD, [LOADED], {"cut off": 1}),
        (b'{"msg_type":"DQ","a":"open' + GOOD, [LOADED], {"cut off": 1}),
        (b'{"a":"open\n{"scene_names":[]}', [{"scene_names": []}], {"cut off": 1}),
        (b'{"cte":1,5,"x":2}', [{"cte": 1.5, "x": 2}], {}),
        (b'{"cte":-1,2E-05}\n', [{"cte": -1.2e-05}], {}),
        (b'{"a":"b:1,5,","c":1,5}', [{"a": "b:1,5,", "c": 1.5}], {}),
        (b'{"lap":"INFINITY"}', [{"lap": "INFINITY"}], {}),
        (b'{"lap":Infinity}', [{"lap": math.inf}], {}),
        (b'{"a":"x\ny\x01"}', [{"a": "x\ny\x01"}], {}),
        (b'{"a":"\xff"}', [{"a": "\ufffd"}], {}),
        (b'{"a":"C:\\dir"}', [{"a": "C:\\dir"}], {}),
        (b"noise" + GOOD, [LOADED], {"garbage": 1}),
        (b'{"a":}' + GOOD, [LOADED], {"broken": 1}),
        (b"{" + b'"a":[' * 90000 + b"\n" + GOOD, [LOADED], {"too deep": 1}),
    ],
)
def test_the_result_is_the_same_at_once_and_byte_by_byte(data, expected, dropped):
    pieces = [bytes([each]) for each in data] if len(data) < 1000 else [data[:7], data[7:]]
    for fed in ([data], pieces):
        found, decoder = decoded(fed)
        assert found == expected
        assert dict(decoder.dropped) == dropped


def test_many_brackets_are_read_and_deep_ones_are_not():
    many = b'{"lidar":[' + b",".join([b'{"d":1.5,"rx":0,"ry":0}'] * 500) + b"]}\n"
    deep = b'{"a":' + b"[" * 9 + b"]" * 9 + b"}\n"
    for fed in ([many, deep, GOOD], [bytes([each]) for each in many + deep + GOOD]):
        found, decoder = decoded(fed)
        assert [len(each.get("lidar", ())) for each in found] == [500, 0]
        assert dict(decoder.dropped) == {"too deep": 1}


def test_huge_numbers_do_no_harm():
    found, _ = decoded([b'{"a":' + b"9" * 10_000 + b',"b":1e999}\n'])
    assert found == [{"a": math.inf, "b": math.inf}]


@pytest.mark.parametrize("filling", [b'{"a":"' + b"x" * 10_000, b"x" * 10_000])
def test_endless_bytes_are_bounded_and_the_next_message_is_found(filling):
    decoder = StreamDecoder(longest=100_000)
    decoder.feed(filling)
    for _ in range(1000):
        assert decoder.feed(b"x" * 10_000) == []
        assert decoder.buffered <= 110_000
    assert decoder.feed(b"\n" + GOOD) == [LOADED]
    assert sum(decoder.dropped.values()) == 1


def test_the_time_is_linear_in_the_length():
    def seconds(size):
        decoder = StreamDecoder(longest=2**26)
        begin = time.process_time()
        decoder.feed(b'{"a":"')
        for _ in range(size // 1000):
            decoder.feed(b"x" * 1000)
        assert len(decoder.feed(b'"}')) == 1
        return time.process_time() - begin

    # Sixteen times the length; quadratic work would take 256 times as long.
    assert seconds(16_000_000) < 80 * max(seconds(1_000_000), 0.001)


def test_random_streams_give_every_message_however_they_are_split():
    for seed in range(400):
        rng = random.Random(seed)
        messages = []
        data = b""
        for number in range(rng.randrange(1, 8)):
            message = {"msg_type": rng.choice(["telemetry", "é", "x"]), "n": number}
            message |= {"t": rng.choice(["", 'a"b', "{}", "\n", "日本"]), "l": [{"d": 1.5}]}
            messages.append(message)
            text = json.dumps(message, ensure_ascii=rng.random() < 0.5, separators=(",", ":"))
            noise = [b"", b"\n", b"zz", b'{"msg_type":"a', b"\xff\xfe", b"}]", b"{{["]
            data += rng.choice(noise) + text.encode()
        whole, first = decoded([data])
        parts, second = decoded(split(data, rng))
        assert whole == parts == messages, seed
        assert first.dropped == second.dropped, seed
