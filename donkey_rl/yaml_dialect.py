"""YAML as recipes are written in it: the scalars of YAML 1.2, and each key once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

_MOST: Final = 10_000_000
"""Characters that a text may stand for; files have a tenth of that."""


class _Loader(yaml.SafeLoader):
    """Reads the scalars of YAML 1.2, and refuses a key that stands twice.

    YAML 1.1, PyYAML's own, takes `1e-3` for text, `no` for false and `1:30` for ninety.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  (shared by all instances in PyYAML's design)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Builds a mapping, or raises if a key stands in it twice."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"keys are text, received {key!r}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands here a second time", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


NOTHING: Final = ("~", "null", "Null", "NULL", "")
"""The scalars that stand for no value."""

_SCALARS = {
    "null": ("|".join(NOTHING), ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf)|\.(nan|NaN)",
        list("-+.0123456789"),
    ),
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), _first
    )


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """Reads `012` as twelve, where PyYAML takes it for octal."""
    text = str(loader.construct_scalar(node)).replace("_", "")
    return int(text, 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: text that it would take for a number goes into quotes."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def load(text: str, *, as_text: bool = False) -> Any:
    """Returns what a text says.

    Args:
        text: YAML.
        as_text: Each scalar stays the text that it is, also a number.

    Raises:
        yaml.YAMLError: It is not YAML, a key stands in it twice, or aliases make it too large.
    """
    loader = (yaml.BaseLoader if as_text else _Loader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST:
            raise yaml.constructor.ConstructorError(
                None, None, f"it stands for more than {_MOST:,} characters", node.start_mark
            )
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Of a tag such as !!bool before a text that is none.
        raise yaml.MarkedYAMLError(problem="a value is not of its type") from error
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Returns how many characters a node stands for, those behind an alias each time."""
    if id(node) not in known:
        # A node within itself has no end.
        known[id(node)] = _MOST + 1
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = itertools.chain.from_iterable(
            part if isinstance(part, tuple) else (part,) for part in parts
        )
        own = 1 if isinstance(node, yaml.CollectionNode) else 1 + len(node.value)
        known[id(node)] = own + sum(_size(each, known) for each in inner)
    return known[id(node)]


def dumped(values: Mapping[str, Any]) -> str:
    """Returns values as text that `load` reads again."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def reason(error: yaml.YAMLError) -> str:
    """Returns what is wrong with a text, and in which line."""
    problem, mark = (getattr(error, name, None) for name in ("problem", "problem_mark"))
    return (problem or "unreadable") + (f", line {mark.line + 1}" if mark else "")
