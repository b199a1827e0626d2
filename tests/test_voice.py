"""One voice: each option is called, written and preset alike in all commands, and shown alike."""

from __future__ import annotations

import shlex
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from donkey_rl import cli, cli_former

Path = tuple[str, ...]

DIFFERENCES: Mapping[str, Mapping[str, str]] = {
    "--config": {"repeated": "a race has a file for each car"},
    "--driver": {"default": "record begins with a person at the wheel"},
    "--frames": {"default": "pictures are what a recording is for; an evaluation goes without"},
    "--host": {"default": "what serves names its address; that of a race stands in race.yaml"},
    "--laps": {"default": "3 where every race has laps; else it depends on who drives, and where"},
    "--name": {
        "metavar": "SET for a data set, which `data` commands take as SET",
        "default": "a registered model has a usual name, since races are set up with it",
    },
    "--opponents": {"repeated": "a rehearsal once took --opponent again and again"},
    "--out": {
        "metavar": "FILE where one is written, FOLDER where several are, PATH for either",
        "default": "what a command is for has a name of its own",
    },
    "--port": {"default": "each service has its own, so that all can run side by side"},
    "--races": {"default": "as many as the question takes: a look, a choice, a proof"},
    "--seed": {"default": "a training has that of its recipe"},
    "--seeds": {"default": "a bench measures once, a sweep's score is a mean"},
    "--time-scale": {"type": "sim takes max as well", "default": "the same"},
    "--track": {"default": "the doctor needs a scene that every simulator has"},
}
"""Options that differ from command to command, what differs, and why."""

WITHOUT_JSON = {
    (): "shows its help",
    ("data",): "shows its help",
    ("runs",): "shows its help",
}

VERBS = frozenset(
    [
        "Add",
        "Check",
        "Compare",
        "Compute",
        "Draw",
        "Fetch",
        "Hold",
        "List",
        "Look",
        "Make",
        "Measure",
        "Open",
        "Play",
        "Put",
        "Race",
        "Rank",
        "Read",
        "Record",
        "Register",
        "Score",
        "Search",
        "Send",
        "Serve",
        "Share",
        "Show",
        "Split",
        "Train",
        "Write",
    ]
)


def tree(command: Any = None, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields every command and group with the words that call it."""
    command = command or cli.commands()
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from tree(inner, (*path, name))


COMMANDS = dict(tree())
NAMED = [pytest.param(path, id=" ".join(path) or "donkey-rl") for path in COMMANDS]


def options(path: Path) -> list[Any]:
    return [each for each in COMMANDS[path].params if each.param_type_name == "option"]


def kind(option: Any) -> str:
    """The type of an option's value; Typer describes it in one of two ways."""
    described = getattr(option, "type_descriptor", None)
    if described is None:
        return str(option.type.name)
    inner = typing.get_args(described.annotation) or (described.annotation,)
    return str(inner[0].__name__)


def traits(option: Any) -> dict[str, str]:
    found = {
        "spelling": (tuple(option.opts), tuple(option.secondary_opts)),
        "type": kind(option),
        "repeated": option.multiple,
        "metavar": option.metavar,
        "default": option.default,
    }
    return {name: str(value) for name, value in found.items()}


def test_an_option_is_the_same_in_every_command() -> None:
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in COMMANDS:
        for option in options(path):
            for trait, value in traits(option).items():
                seen[option.opts[0], trait].add(value)
    differing = {each for each, values in seen.items() if len(values) > 1}
    # Also the other way round: a reason for what no longer differs is out of date.
    assert differing == {(name, trait) for name, traits in DIFFERENCES.items() for trait in traits}


def test_no_two_options_share_a_short_letter() -> None:
    letters: dict[str, set[str]] = defaultdict(set)
    for path in COMMANDS:
        for option in options(path):
            for short in (each for each in option.opts if not each.startswith("--")):
                letters[short].add(option.opts[0])
    assert letters == {"-m": {"--message"}}


@pytest.mark.parametrize("path", NAMED)
def test_every_command_prints_json_if_asked(path: Path) -> None:
    has = any("--json" in option.opts for option in options(path))
    assert has is (path not in WITHOUT_JSON)


@pytest.mark.parametrize("path", NAMED)
def test_help_is_written_alike(path: Path) -> None:
    command = COMMANDS[path]
    first, *rest = command.help.splitlines()
    assert first.split()[0].rstrip(",") in VERBS, first
    assert first.endswith(".")
    # A terminal of 80 columns would break them a second time.
    assert max(map(len, rest), default=0) <= 79
    for each in command.params:
        assert each.help, each.opts
        assert each.help[0].isupper() or each.help[0].isdigit(), each.help
        assert each.help.endswith("."), each.help


@pytest.mark.parametrize("path", NAMED)
def test_the_example_of_each_help_can_be_typed(path: Path) -> None:
    lead, _, line = COMMANDS[path].epilog.partition("donkey-rl ")
    assert lead.startswith("Example: ") or path == ()
    words = shlex.split(line)
    assert tuple(words[: len(path)]) == path
    called = max((each for each in COMMANDS if tuple(words[: len(each)]) == each), key=len)
    # Parses it and checks every value as a user's is, without doing it.
    COMMANDS[called].make_context("donkey-rl", words[len(called) :]).close()


def test_former_names_are_no_longer_shown_and_lead_to_options_that_are() -> None:
    for path, names in cli_former.FORMER.items():
        known = {name for option in options(path) for name in option.opts}
        assert not known & names.keys()
        assert set(names.values()) <= known


def test_options_that_are_times_say_in_what() -> None:
    """A number of seconds, minutes or milliseconds has its unit in its name."""
    lengths = ("latency", "jitter", "limit", "timeout", "duration", "time")
    for path in COMMANDS:
        for option in options(path):
            words = option.opts[0].strip("-").split("-")
            if words[0] in lengths and kind(option).startswith("float"):
                assert words[-1] in ("ms", "scale", "minutes", "seconds"), option.opts
