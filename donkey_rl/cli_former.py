"""Options by the names that they had before: they are understood, and shown in no help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FORMER: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("evaluate",): {"--plot": "--out"},
    ("export",): {"--output": "--out", "--frames": "--tub"},
    ("race", "init"): {"--name": "--racer-name", "--scene": "--track"},
    ("race", "rehearse"): {"--opponent": "--opponents"},
    ("race", "replay"): {"--speed": "--time-scale"},
    ("tracks", "record"): {"--scene": "--track"},
    ("tracks", "show"): {"--plot": "--out"},
}
"""By command: each former name, and what the option is called now."""


def renamed(words: Sequence[str]) -> list[str]:
    """Returns a command line with the options as they are called now.

    >>> renamed(["export", "3f2a", "--output=car", "--to", "litert"])
    ['export', '3f2a', '--out=car', '--to', 'litert']
    >>> renamed(["record", "--output", "car"])
    ['record', '--output', 'car']
    """
    for command, names in FORMER.items():
        if tuple(words[: len(command)]) == command:
            return [_renamed(word, names) for word in words]
    return list(words)


def _renamed(word: str, names: Mapping[str, str]) -> str:
    option, equals, value = word.partition("=")
    return f"{names[option]}{equals}{value}" if option in names else word
