"""Settings as tables: the fields of configurations with default, meaning and range."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pydantic
import site_text as rst

from donkey_rl.setting_keys import models_in


def settings_page(model: type[pydantic.BaseModel]) -> str:
    """Returns the page of all settings of a training, with defaults, ranges and meaning."""
    lines = [
        *rst.title("Settings of a training", "="),
        "``donkey-rl train --set KEY=VALUE`` changes one, a recipe several. A default that "
        "depends on other settings is shown as None.",
        "",
    ]
    for heading, prefix, values in _groups("The run", "", model()):
        lines += [*rst.title(heading, "-"), *_settings(prefix, values), ""]
    return "\n".join(lines)


def fields_table(model: type[pydantic.BaseModel]) -> list[str]:
    """Returns the fields of a configuration class as a table in reStructuredText."""
    meanings = _attributes(model)
    rows = [
        (
            f"``{name}``",
            _default(field),
            _meaning(field, meanings.get(name, "")) or _first_line(field),
            _range(field),
        )
        for name, field in model.model_fields.items()
    ]
    return rst.table("field,default,meaning,range", rows)


def _groups(
    heading: str, prefix: str, values: pydantic.BaseModel
) -> Iterator[tuple[str, str, pydantic.BaseModel]]:
    """Yields each group of settings: its heading, its dotted prefix, and its default values."""
    yield heading, prefix, values
    for name, field in type(values).model_fields.items():
        key, mine = f"{prefix}.{name}".strip("."), getattr(values, name)
        kinds = models_in(field.annotation)
        for kind in kinds:
            group = mine if isinstance(mine, kind) else kind()
            of_several = f"{key}, with {key}.name={getattr(group, 'name', '')}"
            yield from _groups(of_several if len(kinds) > 1 else key, key, group)


def _settings(prefix: str, values: pydantic.BaseModel) -> list[str]:
    """Returns the table of the settings of one group."""
    model = type(values)
    meanings = _attributes(model)
    rows = []
    for name, field in model.model_fields.items():
        if not models_in(field.annotation):
            key, value = f"{prefix}.{name}".strip("."), getattr(values, name)
            told = (_meaning(field, meanings.get(name, "")), _range(field))
            rows.append((f"``{key}``", f"``{value!r}``", *told))
    return rst.table("setting,default,meaning,range", rows) if rows else ["Groups only."]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is None:
        return f"``{field.default!r}``"
    made = field.default_factory()
    return f"`{type(made).__name__}`" if isinstance(made, pydantic.BaseModel) else f"``{made!r}``"


def _range(field: Any) -> str:
    """Returns the limits that a field's values keep to."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    told = [
        f"{sign} {getattr(part, limit):,}"
        for part in field.metadata
        for limit, sign in signs.items()
        if hasattr(part, limit)
    ]
    return ", ".join(told)


def _meaning(field: Any, documented: str) -> str:
    return rst.escaped(field.description) if field.description else documented


def _first_line(field: Any) -> str:
    """Returns what a group of settings says of itself, nothing for a single one."""
    kinds = models_in(field.annotation)
    return (inspect.getdoc(kinds[0]) or "").partition("\n")[0] if kinds else ""


def _attributes(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """Returns what the `Attributes:` of a class's docstring, or of its bases, say by name."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", inspect.getdoc(each) or "", re.M)
        if each.__doc__ and section:
            text = re.sub(r"\n {8,}", " ", section[1])
            found |= dict(re.findall(r"^ {4}(\w+): (.*)$", text, re.M))
    return found
