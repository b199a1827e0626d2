"""What the servers of each generation make of a client's bytes."""

import itertools
import random

import pytest

from donkey_rl.envs.link import commands, parsers

A = b'{"msg_type":"reset_car"}'
B = b'{"msg_type":"exit_scene"}'
READ_A = {"msg_type": "reset_car"}
READ_B = {"msg_type": "exit_scene"}


def test_2020_takes_one_object_for_each_chunk_and_loses_everything_else():
    parser = parsers.of_generation(2020, tolerant=False)
    assert parser.feed(A) == [READ_A]
    assert parser.feed(A + b"\n") == [READ_A]
    assert parser.feed(A + B) == []
    assert parser.feed(A[:9]) == parser.feed(A[9:]) == []
    assert dict(parser.dropped) == {"broken": 3}


@pytest.mark.parametrize("year", [2021, 2022])
def test_a_trailing_newline_loses_the_message_on_2021_and_2022(year):
    parser = parsers.of_generation(year, tolerant=False)
    assert parser.feed(A + b"\n") == []
    assert parser.feed(B) == [READ_B]
    assert dict(parser.dropped) == {"cut off": 1}


def test_a_nested_object_or_a_brace_in_text_breaks_the_message_on_2022():
    for broken in (b'{"a":{"b":"c"}}', b'{"a":"{"}'):
        parser = parsers.of_generation(2022, tolerant=False)
        assert parser.feed(broken) == []
        assert sum(parser.dropped.values()) > 0
        assert parser.feed(A) == [READ_A]


def test_glued_and_split_objects_are_put_together_on_2022():
    parser = parsers.of_generation(2022, tolerant=False)
    assert parser.feed(A + B + A[:5]) == [READ_A, READ_B]
    assert parser.feed(A[5:] + B) == [READ_A, READ_B]
    assert not parser.dropped


def test_a_tolerant_server_takes_newlines_and_glue_of_every_year():
    for year in (2020, 2021, 2022):
        parser = parsers.of_generation(year, tolerant=True)
        assert parser.feed(A + b"\n" + B + A + b"\n") == [READ_A, READ_B, READ_A]


@pytest.mark.parametrize("year", [2020, 2022])
def test_a_message_without_end_is_dropped_and_the_next_one_is_read(year):
    parser = parsers.of_generation(year, tolerant=False)
    for _ in range(3):
        assert parser.feed(b"{" + b"x" * 2_000_000) == []
    assert parser.feed(A) == [READ_A]
    assert parser.dropped["too long"] == 3


def test_commands_reach_2022_in_order_however_they_are_split():
    sent = [commands.Control(0.25, 0.5, 0.0), commands.ResetCar(), commands.LoadScene("a {b}")]
    data = b"".join(commands.encode(each) for each in sent)
    for seed in range(100):
        rng = random.Random(seed)
        parser = parsers.of_generation(2022, tolerant=False)
        cuts = [0, *sorted(rng.sample(range(len(data)), 3)), len(data)]
        found = [each for a, b in itertools.pairwise(cuts) for each in parser.feed(data[a:b])]
        # Braces in text become parentheses on the wire.
        assert [commands.parse(each) for each in found] == [*sent[:2], commands.LoadScene("a (b)")]
