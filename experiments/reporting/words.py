"""Times, amounts and lists in words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

from donkey_rl.formatting import number
from donkey_rl.metrics.statistics import Interval

UNKNOWN = "not recorded"

_MINUTE, _HOUR = 60.0, 3600.0


def duration(seconds: float | None) -> str:
    """Returns a time in the unit that suits it.

    >>> [duration(each) for each in (42.3, 305.0, 7200.0, None)]
    ['42 s', '5.1 min', '2.0 h', 'not recorded']
    """
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:,.1f} h"


def energy(kwh: float | None) -> str:
    """Returns an energy in the unit that suits it.

    >>> [energy(each) for each in (0.00032, 0.25, 3.0, None)]
    ['0.320 Wh', '250 Wh', '3 kWh', 'not recorded']
    """
    if kwh is None:
        return UNKNOWN
    return f"{number(1000 * kwh)} Wh" if kwh < 1.0 else f"{number(kwh)} kWh"


def price(amount: float | None) -> str:
    """Returns a price, in whatever money the rates were given.

    >>> price(0.0001234), price(1234.5), price(2.5), price(0.0), price(None)
    ('0.00012', '1,234.50', '2.50', '0.00', '-')
    """
    if amount is None:
        return "-"
    digits = 2 if amount == 0.0 else max(2, 1 - math.floor(math.log10(amount)))
    return f"{amount:,.{min(digits, 9)}f}"


def interval(found: Interval, unit: str = "", digits: int = 2) -> str:
    """Returns a figure with its 95 % interval in brackets.

    >>> interval(Interval(17.251, 17.2, 17.3), "s")
    '17.25 s (17.20 to 17.30)'
    """
    if math.isnan(found.value):
        return "-"
    text = f"{found.value:,.{digits}f}" + (f" {unit}" if unit else "")
    if math.isnan(found.low):
        return text
    return f"{text} ({found.low:,.{digits}f} to {found.high:,.{digits}f})"


def listed(names: Sequence[str]) -> str:
    """Returns names as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last


def counted(count: int, singular: str, plural: str = "") -> str:
    """Returns how many there are of something.

    >>> counted(1, "race"), counted(3, "race"), counted(0, "box", "boxes")
    ('1 race', '3 races', 'no boxes')
    """
    many = plural or f"{singular}s"
    return f"1 {singular}" if count == 1 else f"{count:,} {many}" if count else f"no {many}"


def day(milliseconds: int) -> str:
    """Returns the day of a Unix time in milliseconds (UTC).

    >>> day(0)
    '1970-01-01'
    """
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC).date().isoformat()
