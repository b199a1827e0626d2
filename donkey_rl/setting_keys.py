"""The dotted keys of a configuration, and what is said about those that do not fit.

A group of settings can be of several kinds, each with settings of its own. Its field then admits
several classes, each with a tag, and the group's setting `name` chooses the class:

>>> class Lane(pydantic.BaseModel):
...     name: typing.Literal["lane"] = "lane"
...     frames: int = 24_000
>>> class Cnn(pydantic.BaseModel):
...     name: typing.Literal["cnn"] = "cnn"
...     pool: int = 2
>>> OneLane = typing.Annotated[Lane, pydantic.Tag("lane")]
>>> OneCnn = typing.Annotated[Cnn, pydantic.Tag("cnn")]
>>> class Run(pydantic.BaseModel):
...     encoder: typing.Annotated[OneLane | OneCnn, BY_NAME] = Lane()
>>> Run(encoder={"name": "cnn"})
Run(encoder=Cnn(name='cnn', pool=2))
>>> keys(Run)
('encoder.name', 'encoder.frames', 'encoder.pool')
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from donkey_rl.errors import ConfigurationError, InputError, nearest

Model = type[pydantic.BaseModel]

KIND = "name"
"""The setting that chooses the kind of a group."""


def _kind(group: Any) -> Any:
    if isinstance(group, Mapping):
        return str(group[KIND]) if KIND in group else None
    return getattr(group, KIND, None)


# Not by pydantic's own discriminator fields: those bear no validator, and ours bear one for all.
BY_NAME = pydantic.Discriminator(_kind)
"""Marks a field as a group of several kinds."""


def models_in(annotation: Any) -> list[Model]:
    """Returns the configuration classes that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [m for argument in typing.get_args(annotation) for m in models_in(argument)]
    return []


def field_of(models: Sequence[Model], name: str) -> FieldInfo | None:
    """Returns the first field of this name in any of the classes."""
    return next((m.model_fields[name] for m in models if name in m.model_fields), None)


def is_choice(field: FieldInfo | None) -> bool:
    """Whether a field is a group of several kinds, of which its setting `name` chooses one."""
    return field is not None and BY_NAME in field.metadata


def keys(model: Model) -> tuple[str, ...]:
    """Returns the dotted names of all values of a configuration class, in order.

    A group of several kinds has the settings of all of them.
    """
    return tuple(dict.fromkeys(_keys(model, "")))


def _keys(model: Model, prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if not inner:
            yield prefix + name
        for child in inner:
            yield from _keys(child, f"{prefix}{name}.")


def current(model: Model, key: str) -> str:
    """Returns a dotted key as it is called today.

    A class names keys that it had before in ``FORMER``, with the dotted key below it that each of
    them is now.

    >>> class Look(pydantic.BaseModel):
    ...     shift: int = 0
    >>> class Agent(pydantic.BaseModel):
    ...     FORMER: typing.ClassVar = {"random_shift": "look.shift"}
    ...     look: Look = Look()
    >>> current(Agent, "random_shift"), current(Agent, "look.shift")
    ('look.shift', 'look.shift')
    """
    models: list[Model] = [model]
    parts = key.split(".")
    for index, part in enumerate(parts):
        for each in models:
            former: Mapping[str, str] = getattr(each, "FORMER", {})
            if part in former:
                return ".".join([*parts[:index], former[part], *parts[index + 1 :]])
        field = field_of(models, part)
        models = models_in(field.annotation) if field is not None else []
    return key


def moved(model: Model, values: Any) -> Any:
    """Returns values with those of former keys where they belong today, as `current` does.

    Args:
        model: The class that they are of, with ``FORMER`` keys one group down.
        values: By name; what is no mapping is returned as it is.
    """
    former: Mapping[str, str] = getattr(model, "FORMER", {})
    if not isinstance(values, Mapping) or not former.keys() & values.keys():
        return values
    result = dict(values)
    for name in former.keys() & values.keys():
        group, _, leaf = former[name].partition(".")
        inner = result.get(group)
        if inner is None:
            inner = model.model_fields[group].get_default(call_default_factory=True)
        inner = inner.model_dump() if isinstance(inner, pydantic.BaseModel) else inner
        result[group] = {**inner, leaf: result.pop(name)}
    return result


def annotation_at(model: Model, key: str) -> Any:
    """Returns the type annotation behind a dotted key, today's or a former one.

    Raises:
        ConfigurationError: The key does not exist; the message has the nearest one.
    """
    models: list[Model] = [model]
    annotation: Any = model
    for part in current(model, key).split("."):
        field = field_of(models, part)
        if field is None:
            if typing.get_origin(annotation) is dict:
                return Any
            raise ConfigurationError(_unknown(model, key))
        annotation = field.annotation
        models = models_in(annotation)
    return annotation


def describe(model: Model, details: Sequence[ErrorDetails]) -> str:
    """Says in one line what is wrong with the first value, and how many more there are."""
    unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
    detail = (unknown or list(details))[0]
    place = _Place(model, detail["loc"])
    if detail["type"] == "extra_forbidden":
        message = place.foreign() or _unknown(model, place.key)
    else:
        message = _mismatch(place.key, detail)
    others = len(details) - 1
    return f"{message} ({others} more to mend.)" if others else message


class _Place:
    """Where in a configuration a value stands.

    Attributes:
        key: The place as the user types it, without the names of union members.
    """

    def __init__(self, model: Model, location: Sequence[int | str]) -> None:
        self.key = ""
        self._group: tuple[str, FieldInfo, str] | None = None
        models: Sequence[Model] = [model]
        field: FieldInfo | None = None
        for part in location:
            if isinstance(part, int):
                self.key += f"[{part}]"
            elif field is not None and is_choice(field):
                self._group = self.key, field, part
                field = None
            elif part.isidentifier() and not (part[0].isupper() or part in _TYPE_NAMES):
                self.key += f".{part}" if self.key else part
                field = field_of(models, part)
                models = models_in(field.annotation) if field else []

    def foreign(self) -> str | None:
        """Returns what to say where a key belongs to another kind of the group, else None."""
        if self._group is None:
            return None
        group, field, kind = self._group
        name = self.key.removeprefix(f"{group}.")
        owners = [
            owner
            for model in models_in(field.annotation)
            if name in model.model_fields
            for owner in typing.get_args(model.model_fields[KIND].annotation)
        ]
        if not owners:
            return None
        return (
            f"{self.key} is a setting of {group}.{KIND}={_either(owners)}, not of {kind}. "
            f"Leave it out, or set {group}.{KIND}={owners[0]}."
        )


_MOST_NAMED = 4
"""Settings of the same last name that are named where one of them is meant."""

_TYPE_NAMES = ("int", "str", "float")


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _unknown(model: Model, key: str) -> str:
    known = keys(model)
    groups = {name.rpartition(".")[0] for name in known} - {""}
    group, _, leaf = key.rpartition(".")
    siblings = {
        inner: name
        for name in [*known, *groups]
        for outer, _, inner in [name.rpartition(".")]
        if outer == group
    }
    elsewhere = [name for name in known if name.rpartition(".")[2] == leaf]
    sibling = nearest(leaf, siblings)
    near = nearest(key, [*known, *groups])
    found = [siblings[sibling]] if sibling else elsewhere or ([near] if near else [])
    if found:
        named = _either([f"'{name}'" for name in found[:_MOST_NAMED]])
        return f"Unknown setting '{key}'. Did you mean {named}?"
    some = ", ".join(known[:8])
    return f"Unknown setting '{key}'. Known: {some}{', ...' if len(known) > 8 else '.'}"


def _mismatch(key: str, detail: ErrorDetails) -> str:
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{key}: {cause}" if key else str(cause)
    if detail["type"] == "missing":
        return f"{key} is required and has no default."
    if detail["type"] == "union_tag_invalid":
        return _no_such_kind(key, detail["ctx"])
    if detail["type"] in ("model_type", "union_tag_not_found"):
        return (
            f"{key} is a group of settings. Received: {detail['input']!r}. Set {key}.NAME instead."
        )
    expected = detail["msg"].removeprefix("Input ").removeprefix("Value error, ").rstrip(".")
    expected = expected.partition(", unable to")[0]
    lead = f"{key} {expected}" if expected.startswith("should") else f"{key}: {expected}"
    received = detail["input"]
    hint = ""
    if detail["type"] == "literal_error" and isinstance(received, str):
        choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        found = nearest(received, choices)
        hint = f" Did you mean '{found}'?" if found else ""
    shown = repr(received)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    if not key:
        return f"{lead.removeprefix(': ').strip()}.{hint}"
    return f"{lead}. Received: {shown}.{hint}"


def _no_such_kind(key: str, context: Mapping[str, Any]) -> str:
    received = context["tag"]
    kinds = re.findall(r"'([^']*)'", context["expected_tags"])
    found = nearest(received, kinds)
    hint = f" Did you mean '{found}'?" if found else ""
    names = _either([f"'{kind}'" for kind in kinds])
    return f"{key}.{KIND} should be {names}. Received: '{received}'.{hint}"
