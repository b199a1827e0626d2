"""Search spaces: settings with the values among which a sweep chooses.

A space maps dotted keys of a configuration to ranges or lists of values. Agents declare one beside
their configuration; a YAML file can replace it:

```yaml
sac.learning_rate: {low: 3e-4, high: 3e-3, log: true}
sac.n_steps: {low: 1, high: 5}
sac.hidden: {choices: [[128, 128], [256, 256]]}
```

>>> class Run(configuration.Config):
...     rate: float = pydantic.Field(default=1e-3, gt=0, le=1)
...     hidden: tuple[int, ...] = (64, 64)
>>> space = widened(
...     {"rate": Float(low=1e-2, high=1e-1, log=True), "hidden": Choice(choices=((32,),))}, Run()
... )
>>> space["rate"].low, space["hidden"].choices
(0.001, ((32,), (64, 64)))
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from pydantic import Field

from donkey_rl import configuration, setting_keys
from donkey_rl.configuration import Config
from donkey_rl.errors import ConfigurationError

MOST_CHOICES = 64

_NAME = "search space"

Leaf = bool | int | float | str | None


class _Range(Config):
    """What ranges have in common."""

    low: float
    high: float
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, and is {self.low:g} of {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, and is {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values between which all others lie."""
        return self.low, self.high

    def with_value(self, value: Any) -> Self | None:
        """Returns the range, widened to hold a value; None where it cannot."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.log and value <= 0:
            return None
        ends = {"low": min(self.low, value), "high": max(self.high, value)}
        return self.model_copy(update=ends)


class Float(_Range):
    """A number between two others.

    Attributes:
        low: The least.
        high: The largest.
        log: Whether its logarithm is drawn evenly.
    """


class Int(_Range):
    """A whole number between two others, both among them.

    Attributes:
        low: The least.
        high: The largest.
        log: Whether its logarithm is drawn evenly.
    """

    low: int
    high: int


class Choice(Config):
    """One of some values; lists, such as the widths of layers, are values too.

    Attributes:
        choices: The values.
    """

    choices: tuple[Leaf | tuple[Leaf, ...], ...] = Field(min_length=1, max_length=MOST_CHOICES)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.choices

    @property
    def labels(self) -> tuple[Leaf, ...]:
        """The values as a study stores them: lists as text, `"256,256"`."""
        return tuple(label(value) for value in self.choices)

    def value_of(self, stored: Leaf) -> Any:
        """Returns the value that a study stores so."""
        # True and 1 are alike to Python, and not to a setting.
        same = [(type(each), each) for each in self.labels].index((type(stored), stored))
        return self.choices[same]

    def with_value(self, value: Any) -> Self | None:
        """Returns the choice, with a value added that was not in it; None where it cannot be."""
        if isinstance(value, dict) or len(self.choices) == MOST_CHOICES:
            return None
        known = (type(value), label(value)) in [(type(v), label(v)) for v in self.choices]
        return self if known else self.model_copy(update={"choices": (*self.choices, value)})


Parameter = Int | Float | Choice
"""Whole numbers first: what both hold is taken for these."""
SearchSpace = dict[str, Parameter]


def read(path: Path, config: Config) -> SearchSpace:
    """Reads a space from a YAML file.

    Args:
        path: The file: a mapping of dotted keys to `{low: ..., high: ..., log: ...}` or
            `{choices: [...]}`.
        config: What the settings are of; each value of the space must fit into it.

    Raises:
        InputError: The file cannot be read.
        ConfigurationError: It is no mapping, a key is unknown, or a value does not fit.
    """
    text = configuration.read_file(path, _NAME)
    entries = configuration.parse_recipe(text, str(path), _NAME)
    if not entries:
        raise ConfigurationError(
            f"The search space '{path}' is empty. Example: 'sac.gamma: {{low: 0.95, high: 0.99}}'."
        )
    space = {key: _parse(key, entry, type(config)) for key, entry in entries.items()}
    check(space, config)
    return {key: _fitted(key, parameter, config) for key, parameter in space.items()}


def _fitted(key: str, parameter: Parameter, config: Config) -> Parameter:
    """Returns choices as the setting itself would hold them: a whole number may be one with 0."""
    if not isinstance(parameter, Choice):
        return parameter
    held = [value_at(configuration.with_values(config, {key: v}), key) for v in parameter.choices]
    return parameter.model_copy(update={"choices": tuple(held)})


def check(space: Mapping[str, Parameter], config: Config) -> None:
    """Checks the ends of each range, and each value of a list, against a configuration.

    Raises:
        ConfigurationError: A key is unknown, or a value does not fit.
    """
    for key, parameter in space.items():
        for value in parameter.ends:
            try:
                configuration.with_values(config, {key: value})
            except ConfigurationError as error:
                raise ConfigurationError(f"The search space does not fit: {error}") from error


def widened(space: Mapping[str, Parameter], config: Config) -> SearchSpace:
    """Returns a space that holds the values of a configuration, so that it can be tried itself.

    Raises:
        ConfigurationError: A value is none that a range can hold, such as null.
    """
    own = {key: value_at(config, key) for key in space}
    wide = {key: parameter.with_value(own[key]) for key, parameter in space.items()}
    for key, parameter in wide.items():
        if parameter is None:
            shown = "null" if own[key] is None else own[key]
            raise ConfigurationError(
                f"{key} is {shown}, which its range of the search space cannot hold. Set another "
                f"value with --set {key}=VALUE, or give choices."
            )
    return {key: parameter for key, parameter in wide.items() if parameter is not None}


def value_at(config: Config, key: str) -> Any:
    """Returns the value behind a dotted key.

    Raises:
        ConfigurationError: The key does not exist; the message has the nearest one.
    """
    setting_keys.annotation_at(type(config), key)
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _parse(key: str, entry: Any, model: type[Config]) -> Parameter:
    annotation = setting_keys.annotation_at(model, key)
    if not isinstance(entry, Mapping):
        raise ConfigurationError(
            f"{key} in a search space is {{low: ..., high: ...}} or {{choices: [...]}}. "
            f"Received: {entry!r}."
        )
    kinds = _types(annotation)
    kind: type[Parameter] = Int if int in kinds else Float
    if "choices" in entry:
        kind = Choice
    elif not kinds & {int, float}:
        raise ConfigurationError(
            f"{key} is no number: a search space gives choices of it. Example: "
            f"'{key}: {{choices: [...]}}'."
        )
    try:
        return configuration.validate(kind, entry)
    except ConfigurationError as error:
        raise ConfigurationError(f"{key} in the search space: {error}") from error


def _types(annotation: Any) -> set[Any]:
    """Returns the types that an annotation admits, without what is only said of them."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _types(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return {each for part in typing.get_args(annotation) for each in _types(part)}
    return {annotation}


def label(value: Any) -> Leaf:
    """Returns a value as a study stores it: a list as text.

    >>> label((256, 256)), label(0.5)
    ('256,256', 0.5)
    """
    return ",".join(map(str, value)) if isinstance(value, tuple) else value
