"""Figures as text, for terminals and pages alike."""

from __future__ import annotations

import math

_MOST_PLACES = 6


def printable(text: str) -> str:
    r"""Returns a text of others as it may be shown: it moves no cursor and names no window.

    >>> printable("\x1b[2Ja car\n")
    '?[2Ja car\n'
    """
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


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
