"""``race.yaml`` as it is written: every key, with what it means above it."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from pathlib import Path

from donkey_rl import configuration, moving
from donkey_rl.configuration import Config
from donkey_rl.errors import ConfigurationError, InputError, StorageError
from donkey_rl.race_server.config import RaceConfig

_WIDTH = 96
_OWNER_ALONE = 0o600
_HEAD = """\
Made by `donkey-rl race init`; `donkey-rl race --config FILE` races by it.
Keep it to yourself: the guid in it is as good as a password.
"""


def text(config: RaceConfig) -> str:
    """Returns all of a configuration as YAML, each key below what its class says of it.

    >>> print(text(RaceConfig(port=9092)).splitlines()[7])
    port: 9092
    """
    about = {"": _attributes(RaceConfig)}
    for name, field in RaceConfig.model_fields.items():
        for inner in _groups(field.annotation):
            about[name] = _attributes(inner)
    lines = _comment(_HEAD, "")
    group = ""
    for line in configuration.written(config).splitlines():
        found = re.match(r"( *)([a-z_]+):", line)
        if found is not None:
            indent, key = found.groups()
            group = key if not indent else group
            lines += [""] if not indent else []
            lines += _comment(about.get(group if indent else "", {}).get(key, ""), indent)
        lines.append(line)
    return "\n".join(lines) + "\n"


def write(config: RaceConfig, path: Path, *, replace: bool) -> None:
    """Writes a configuration that only its owner can read.

    Args:
        config: The configuration.
        path: Where to.
        replace: Whether a file that is there already may be replaced.

    Raises:
        InputError: The file is there already.
        StorageError: It cannot be written.
    """
    if path.exists() and not replace:
        raise InputError(
            f"'{path}' is there already. Replace it with --force, or give another file."
        )
    try:
        moving.write(path, text(config), mode=_OWNER_ALONE)
    except OSError as error:
        raise StorageError(
            f"Expected to write '{path}'. Received: {error.strerror or error}. Give a file that "
            "you may write."
        ) from error


def read(path: Path) -> RaceConfig:
    """Reads a ``race.yaml``.

    Raises:
        InputError: It cannot be read.
        ConfigurationError: It is no YAML mapping, or a key or value in it does not fit.
    """
    if not path.is_file():
        raise InputError(
            f"There is no file '{path}'. `donkey-rl race init {path}` makes one; give its path "
            "with --config."
        )
    content = configuration.parse_recipe(
        configuration.read_file(path, "race file"), str(path), "race file"
    )
    try:
        return configuration.validate(RaceConfig, content)
    except ConfigurationError as error:
        raise ConfigurationError(f"In '{path}': {error}") from error


def _groups(annotation: object) -> list[type[Config]]:
    """Returns the configuration classes in an annotation."""
    parts = (annotation, *typing.get_args(annotation))
    return [part for part in parts if isinstance(part, type) and issubclass(part, Config)]


def _attributes(model: type[Config]) -> dict[str, str]:
    """Returns what the docstring of a configuration class says of each key, in YAML's words."""
    section = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + section)[1:]:
        key, _, words = " ".join(entry.split()).partition(": ")
        found[key] = re.sub(r"\bNone\b", "null", words)
    return found


def _comment(words: str, indent: str) -> list[str]:
    width = _WIDTH - len(indent)
    wrapped = (textwrap.wrap(line, width) for line in words.splitlines())
    return [f"{indent}# {line}" for lines in wrapped for line in lines]
