"""How the fields of a message are typed, bounded, written and read.

The simulator reads every value of a client's message as a JSON string ("0.5", "100"); it writes
numbers, strings and truths of its own as JSON has them, infinity as "INFINITY".
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, NamedTuple

from donkey_rl.errors import MessageError

_MOST_DIGITS = 40
"""A number that a client writes as text is shorter than this."""

_NUMBER = re.compile(r"[+-]?(\d+([.]\d*)?|[.]\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")

_SPECIAL = {
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}


class Rule(NamedTuple):
    """What one field may hold.

    Attributes:
        kind: `number`, `integer` or `text`.
        low: Least value, for numbers.
        high: Greatest value; for text the most characters.
        zero: Whether 0 is allowed outside the range: "leave as it is".
        clamp: Whether values outside are brought to the range, as the simulator does.
        optional: Whether the field may be missing.
        name: The field's name on the wire, if Python's differs.
    """

    kind: str
    low: float = -math.inf
    high: float = math.inf
    zero: bool = False
    clamp: bool = False
    optional: bool = False
    name: str = ""


def number(
    low: float = -1e6, high: float = 1e6, *, default: Any = dataclasses.MISSING, **rule: Any
) -> Any:
    """A field that holds a decimal number."""
    return _field(Rule("number", low, high, **rule), default)


def integer(low: int, high: int, *, default: Any = dataclasses.MISSING, **rule: Any) -> Any:
    """A field that holds a whole number."""
    return _field(Rule("integer", low, high, **rule), default)


def text(longest: int = 256, *, default: Any = dataclasses.MISSING, **rule: Any) -> Any:
    """A field that holds characters."""
    return _field(Rule("text", 0, longest, **rule), default)


def _field(rule: Rule, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"rule": rule})


def rules(message: type[Any]) -> dict[str, Rule]:
    """Returns the rules of a message's fields by their Python names."""
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(message)}


def written(value: float | int | str) -> str:
    """Returns a value as a client writes it: text without braces, a dot in decimals.

    >>> written(0.1), written(3), written("a {b}")
    ('0.1', '3', 'a (b)')
    """
    if isinstance(value, str):
        return value.replace("{", "(").replace("}", ")")
    if isinstance(value, int):
        return str(value)
    return f"{value:.9g}"


def read(type_name: str, name: str, rule: Rule, value: Any, *, strings_only: bool) -> Any:
    """Reads the value of one field of a client's message.

    Args:
        type_name: The message, for errors.
        name: The field's name on the wire.
        rule: What it may hold.
        value: As JSON has it.
        strings_only: Whether only JSON strings count, as in the simulator.

    Raises:
        MessageError: The value is not of the kind or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MessageError(type_name, name, f"must be text. Received: {type(value).__name__}")
    if strings_only and not isinstance(value, str):
        raise MessageError(type_name, name, f"must be a JSON string. Received: {value!r}")
    if rule.kind == "text":
        if len(str(value)) > rule.high:
            raise MessageError(type_name, name, f"may have {rule.high:.0f} characters at most")
        return str(value)
    return _bounded(type_name, name, rule, _parsed(type_name, name, rule, value))


def _parsed(type_name: str, name: str, rule: Rule, value: str | int | float) -> float | int:
    whole = rule.kind == "integer"
    plain = str(value).strip()[: _MOST_DIGITS + 1]
    pattern = _INTEGER if whole else _NUMBER
    if len(plain) > _MOST_DIGITS or not pattern.fullmatch(plain):
        kind = "a whole number" if whole else "a number with a dot"
        raise MessageError(type_name, name, f"must be {kind}. Received: {plain!r}")
    return int(plain) if whole else float(plain)


def _bounded(type_name: str, name: str, rule: Rule, value: float) -> float:
    if rule.clamp and math.isfinite(value):
        return min(rule.high, max(rule.low, value))
    inside = rule.low <= value <= rule.high or (rule.zero and value == 0)
    if not inside or not math.isfinite(value):
        raise MessageError(
            type_name, name, f"must be {rule.low:g} to {rule.high:g}. Received: {value:g}"
        )
    return value


def as_number(value: Any) -> float | None:
    """Returns a number that a simulator wrote, None where it is none.

    >>> as_number("INFINITY"), as_number(2), as_number("3,5"), as_number("x")
    (inf, 2.0, 3.5, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    if not isinstance(value, str) or len(value) > _MOST_DIGITS:
        return None
    plain = value.strip().lower().replace(",", ".")
    if plain in _SPECIAL:
        return _SPECIAL[plain]
    return float(plain) if _NUMBER.fullmatch(plain) else None


def as_finite(value: Any, limit: float = 1e9) -> float | None:
    """Returns a number that a simulator wrote if it is finite and within +-limit."""
    found = as_number(value)
    return found if found is not None and abs(found) <= limit else None


def as_integer(value: Any) -> int | None:
    """Returns a whole number that a simulator wrote, None where it is none."""
    found = as_finite(value)
    return int(found) if found is not None and found == int(found) else None


def as_text(value: Any, longest: int = 1024) -> str | None:
    """Returns text that a simulator wrote, None where it is none or too long.

    Half characters, which JSON can hold and files cannot, become question marks.
    """
    if not isinstance(value, str) or len(value) > longest:
        return None
    return value.encode("utf-8", "replace").decode("utf-8")
