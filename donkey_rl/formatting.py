"""Figures as text, for terminals and pages alike."""

from __future__ import annotations

import math
import unicodedata

import pydantic

_MOST_PLACES = 6
_SAFE = frozenset("\n\u200c\u200d")
"""Beside what is seen: the ends of lines, and what joins or parts the letters of some scripts."""


def printable(text: str) -> str:
    r"""Returns a text of others as it may be shown: it moves no cursor and turns no other text.

    >>> printable("\x1b[2Ja car\tof 12\u202fs\n")
    '?[2Ja car of 12 s\n'
    """
    return "".join(map(_shown, text))


def one_line(text: str) -> str:
    r"""Returns a text of others as one line, its spaces as one each.

    >>> one_line(" a\n b\x07")
    'a b?'
    """
    return " ".join(printable(text).split())


def reason(error: Exception) -> str:
    r"""Returns what is wrong with data of others, in one line; of pydantic's errors the first.

    >>> reason(ValueError("no number\nat all"))
    'no number'
    """
    if isinstance(error, pydantic.ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return one_line(f"{where}: {first['msg']}" if where else first["msg"])
    return one_line((str(error).splitlines() or [type(error).__name__])[0])


def _shown(character: str) -> str:
    if character.isprintable() or character in _SAFE:
        return character
    return " " if character == "\t" or unicodedata.category(character) == "Zs" else "?"


def number(value: float, digits: int = 3) -> str:
    """Returns a figure with the digits that count, and with all before the point.

    >>> number(0.31449), number(0.4), number(12345.6), number(23.0181, 4), number(6.0)
    ('0.314', '0.400', '12,346', '23.02', '6')
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value) or value == round(value):
        return f"{value:,.0f}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(places, 0), _MOST_PLACES)}f}"
