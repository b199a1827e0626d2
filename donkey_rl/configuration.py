"""Validated, frozen configuration that everything in this package is described by.

A run is described in three layers, each over the one before: the defaults in the `Config` models,
a recipe (a YAML file that names only what differs), and settings typed as `key=value` with dotted
keys. Whatever does not fit is answered with the key, what was expected, what was received, and the
nearest key that exists.

>>> class Adam(Config):
...     learning_rate: float = pydantic.Field(default=1e-3, gt=0)
>>> class Run(Config):
...     steps: int = pydantic.Field(default=1000, ge=1)
...     adam: Adam = Adam()
>>> with_settings(Run(), ["steps=5_000", "adam.learning_rate=3e-4"])
Run(steps=5000, adam=Adam(learning_rate=0.0003))
>>> keys(Run)
('steps', 'adam.learning_rate')
"""

from __future__ import annotations

import codecs
import itertools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from donkey_rl import setting_keys, yaml_dialect
from donkey_rl.errors import ConfigurationError, InputError, UnknownNameError, nearest

RECIPE_SUFFIXES = (".yaml", ".yml")
MAX_RECIPE_BYTES = 1_000_000

RECIPE_ALIASES = {
    "generalist": "ppo_generalist",
    "race": "ppo_race",
    "first_lap": "sac_fast",
    "thrifty": "sac_thrifty",
    "pace": "ppo_race",
    "pixels": "ppo_pixels",
}
"""Shorter names, and names that recipes had before they were called AGENT_PURPOSE."""

_LISTED = "`donkey-rl recipes` lists them."

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(pydantic.BaseModel):
    """The base of every configuration: frozen, no unknown keys, finite numbers only."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            members = _members(cls.model_fields[info.field_name].annotation)
            if bool not in members and not members.isdisjoint((int, float)):
                raise ValueError("should be a number")
        return value


def validate(model: type[ConfigT], mapping: Mapping[str, Any]) -> ConfigT:
    """Builds a configuration from nested mappings; what is left out keeps its default.

    Args:
        model: The class to build.
        mapping: Keys and values, such as `read_recipe` returns.

    Raises:
        ConfigurationError: A key is unknown, or a value has the wrong type or range.
    """
    try:
        return model.model_validate(_over_defaults(model, mapping))
    except pydantic.ValidationError as error:
        raise ConfigurationError(setting_keys.describe(model, error.errors())) from error


def layered(
    model: type[ConfigT], layers: Iterable[Mapping[str, Any]], settings: Iterable[str] = ()
) -> ConfigT:
    """Builds a configuration of layers, each over those before it, and the defaults below all.

    What they come to is checked once: a layer may mend what does not fit in one below it.

    Args:
        model: The class to build.
        layers: Nested mappings, such as `read_recipe` returns.
        settings: The topmost layer, as in `with_settings`.

    Raises:
        ConfigurationError: As in `validate` and `with_settings`.
    """
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        usual = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(usual, Config):
            values[name] = usual.model_dump()
    for layer in layers:
        values = _merged([model], values, _of_today([model], layer))
    return settings_over(model, values, settings)


def with_settings(config: ConfigT, settings: Iterable[str]) -> ConfigT:
    """Returns a copy of a configuration with some values replaced.

    Args:
        config: The configuration to start from.
        settings: Assignments such as `"sac.learning_rate=1e-3"`. The value is read as YAML: a
            number, `true` or `false`, `null`, text, `[128, 128]` (or simply `128,128`).

    Raises:
        ConfigurationError: An assignment has no `=`, a key is unknown, or a value does not fit.
    """
    return settings_over(type(config), config.model_dump(), settings)


def settings_over(
    model: type[ConfigT], mapping: Mapping[str, Any], settings: Iterable[str]
) -> ConfigT:
    """Builds a configuration from nested values with some of them replaced first.

    So a value that no longer fits, such as a file that is gone, can be replaced.

    Args:
        model: The class to build.
        mapping: All its values, as another configuration's `model_dump` returns them.
        settings: As in `with_settings`.

    Raises:
        ConfigurationError: As in `with_settings`.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not key:
            raise ConfigurationError(
                f"A setting is written key=value. Received: '{setting}'. "
                "Example: --set sac.learning_rate=1e-3."
            )
        value = _value_of(setting_keys.annotation_at(model, key), key, text)
        _assign(changes, setting_keys.current(model, key), value)
    return validate(model, _merged([model], mapping, changes))


def with_values(config: ConfigT, values: Mapping[str, Any]) -> ConfigT:
    """Returns a copy of a configuration with the values behind some dotted keys replaced.

    >>> class Run(Config):
    ...     steps: int = 1000
    >>> with_values(Run(), {"steps": 5})
    Run(steps=5)

    Raises:
        ConfigurationError: A key is unknown, or a value does not fit.
    """
    model = type(config)
    changes: dict[str, Any] = {}
    for key, value in values.items():
        setting_keys.annotation_at(model, key)
        _assign(changes, setting_keys.current(model, key), value)
    return validate(model, _merged([model], config.model_dump(), changes))


def keys(model: type[Config]) -> tuple[str, ...]:
    """Returns the dotted names of all values of a configuration class, in order."""
    return setting_keys.keys(model)


def recipes() -> tuple[str, ...]:
    """Returns the names of the recipes that come with this package."""
    folder = resources.files("donkey_rl.experiments") / "recipes"
    if not folder.is_dir():
        return ()
    names = (Path(entry.name) for entry in folder.iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix == ".yaml"))


def aliases(name: str) -> tuple[str, ...]:
    """Returns the other names of a recipe."""
    return tuple(alias for alias, meant in RECIPE_ALIASES.items() if meant == name)


def recipe_purpose(name: str) -> str:
    """Returns what a recipe of this package is for: the comment that its file begins with.

    Args:
        name: One of `recipes`.
    """
    lines = _packaged(name).splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment)


def read_recipe(path_or_name: str | Path, agent: str | None = None) -> dict[str, Any]:
    """Reads a recipe: a YAML mapping of the keys that differ from the defaults.

    Args:
        path_or_name: A path to a YAML file, or the name of a recipe of this package.
        agent: The algorithm that is wanted, if it is known: a recipe of this package is made for
            one.

    Returns:
        Nested mappings, for `validate`.

    Raises:
        UnknownNameError: No recipe of this name exists.
        InputError: The file cannot be read, or the recipe is another agent's.
        ConfigurationError: The file is not a YAML mapping, or has a key twice.
    """
    typed = str(path_or_name)
    path = Path(typed)
    if path.suffix in RECIPE_SUFFIXES or len(path.parts) > 1:
        return parse_recipe(read_file(path), typed)
    name = RECIPE_ALIASES.get(typed, typed)
    if name not in recipes():
        raise UnknownNameError("recipe", typed, [*recipes(), *RECIPE_ALIASES], remedy=_LISTED)
    values = parse_recipe(_packaged(name), typed)
    if agent is not None and values.get("agent") != agent:
        own = [each for each in recipes() if each.startswith(f"{agent}_")]
        near = nearest(f"{agent}_{name.partition('_')[2]}", own)
        hint = f"Did you mean '{near}'?" if near else _LISTED
        raise InputError(
            f"The recipe '{typed}' is made for {values.get('agent')}. Received: agent {agent}. "
            f"{hint}"
        )
    return values


def written(config: Config) -> str:
    """Returns a whole configuration as YAML that `read_recipe` reads again.

    >>> class Run(Config):
    ...     steps: int = 1000
    ...     track: str = "1e3"
    >>> print(written(Run()), end="")
    steps: 1000
    track: '1e3'
    """
    values = config.model_dump(mode="json")
    return yaml_dialect.dumped(values)


def _packaged(name: str) -> str:
    """Returns the text of a recipe of this package."""
    file = resources.files("donkey_rl.experiments") / "recipes" / f"{name}.yaml"
    return file.read_text(encoding="utf-8")


def read_file(path: Path, what: str = "recipe") -> str:
    """Returns the text of a file; raises `InputError` where it is too large or no text."""
    try:
        size = path.stat().st_size
        if size > MAX_RECIPE_BYTES:
            raise InputError(
                f"A {what} holds at most {MAX_RECIPE_BYTES} bytes. Received: '{path}' of {size}."
            )
        content = path.read_bytes()
        # Of Windows PowerShell's `>`.
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except FileNotFoundError:
        hint = f" Recipes known by name: {', '.join(recipes())}." if what == "recipe" else ""
        named = "recipe file" if what == "recipe" else what
        raise InputError(f"The {named} '{path}' does not exist.{hint}") from None
    except OSError as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The {what} '{path}' is not UTF-8 text.") from error


def parse_recipe(text: str, name: str, what: str = "recipe") -> dict[str, Any]:
    """Reads the text of a recipe.

    Args:
        text: YAML.
        name: What the recipe is called in errors.
        what: What it is to the user.

    Raises:
        ConfigurationError: It is not a YAML mapping, or has a key twice.
    """
    try:
        content = yaml_dialect.load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"The {what} '{name}' is not YAML: {yaml_dialect.reason(error)}."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"The {what} '{name}' should be a mapping of keys to values. "
            f"Received: {type(content).__name__}. Write each line as 'key: value'."
        )
    return content


def _value_of(annotation: Any, key: str, text: str) -> Any:
    """Reads the text of a setting as a value for a field of this type."""
    if annotation is str:
        return text
    members = _members(annotation)
    if members == {str, type(None)}:
        # As YAML, ids of digits alone would be numbers, and paths would end at a ' #'.
        return None if text in yaml_dialect.NOTHING else text
    sequence = any((typing.get_origin(one) or one) in (tuple, list) for one in members)
    bare = "#" not in text and text not in yaml_dialect.NOTHING and text[0] not in "[{"
    if sequence and bare:
        text = f"[{text}]"
    try:
        return yaml_dialect.load(text, as_text=tuple[str, ...] in members)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{key}: '{text}' is not YAML: {yaml_dialect.reason(error)}."
        ) from error


def _members(annotation: Any) -> set[Any]:
    """Returns the types that a union admits, or the type itself."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return set(typing.get_args(annotation)) if is_union else {annotation}


def _assign(mapping: dict[str, Any], key: str, value: Any) -> None:
    """Writes a value below a dotted key; a mapping is merged into what stands there."""
    *groups, leaf = key.split(".")
    for group in groups:
        inner = mapping.get(group)
        if not isinstance(inner, dict):
            inner = mapping[group] = {}
        mapping = inner
    mapping |= _merged([], mapping, {leaf: value})


def _over_defaults(model: type[Config], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Lays nested values over the defaults that the model gives its groups.

    Without this, naming one key of a group would put the others back to the defaults of the
    group's class, where the model has set its own.
    """
    defaults = {}
    for name, field in model.model_fields.items():
        if isinstance(mapping.get(name), Mapping) and not field.is_required():
            default = field.get_default(call_default_factory=True)
            if isinstance(default, Config):
                defaults[name] = default.model_dump()
    return _merged([model], defaults, mapping)


def _of_today(models: Sequence[setting_keys.Model], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested values with those of former keys where they belong today."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        field = setting_keys.field_of(models, name)
        below = setting_keys.models_in(field.annotation) if field else []
        inner = _of_today(below, value) if isinstance(value, Mapping) else value
        former = [each for each in models if name in getattr(each, "FORMER", {})]
        if former:
            _assign(result, setting_keys.current(former[0], name), inner)
        else:
            result |= _merged([], result, {name: inner})
    return result


def _merged(
    models: Sequence[setting_keys.Model], base: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns `base` with the values of `given`, mapping by mapping.

    A group that becomes one of another kind keeps nothing of what it was.

    Args:
        models: Classes that describe the mappings; none where nothing is known of them.
        base: Values to start from.
        given: Values that win.
    """
    result = dict(base)
    for name, value in given.items():
        inner = result.get(name)
        if not (isinstance(inner, Mapping) and isinstance(value, Mapping)):
            result[name] = value
            continue
        field = setting_keys.field_of(models, name)
        kind = inner.get(setting_keys.KIND)
        if setting_keys.is_choice(field) and value.get(setting_keys.KIND, kind) != kind:
            result[name] = dict(value)
        else:
            below = setting_keys.models_in(field.annotation) if field else []
            result[name] = _merged(below, inner, value)
    return result
