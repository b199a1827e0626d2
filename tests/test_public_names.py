"""The names of the packages themselves: a short list, held exactly."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PUBLIC: dict[str, set[str]] = {
    "donkey_rl": {"__version__"},
    "donkey_rl.agents": set(),
    "donkey_rl.envs": {"DonkeyEnv", "DonkeyVectorEnv", "EnvironmentConfig", "TaskConfig"},
    "donkey_rl.experiments": set(),
    "donkey_rl.metrics": {"limits", "race_score", "rivals", "scores", "style"},
    "donkey_rl.race_server": set(),
}
"""All else is imported from the module that holds it."""


def bound(tree: ast.Module) -> set[str]:
    """Returns the names that a module binds at its top, imported ones as well."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(each.asname or each.name).partition(".")[0] for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for each in targets if isinstance(each, ast.Name)}
    return found


def public(source: str) -> set[str]:
    """Returns what a package offers: its `__all__`, else all that it binds without underscore."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    names = bound(tree)
    return {name for name in names if not name.startswith("_")} | names & {"__version__"}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_offers_these_names_and_no_other(package: str) -> None:
    folder = ROOT / package.removeprefix("donkey_rl.").replace(".", "/")
    names = public((folder / "__init__.py").read_text(encoding="utf-8"))
    assert names == PUBLIC[package]
    module = importlib.import_module(package)
    assert [name for name in names if not hasattr(module, name)] == []


def test_no_package_is_left_out() -> None:
    tops = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"donkey_rl"}
    assert {f"donkey_rl.{name}" for name in tops} | {"donkey_rl"} == set(PUBLIC)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from donkey_rl.agents.driver import Driver", {"Driver"}),
        ("import numpy as np\n_hidden = 1\nshown: int = 2", {"np", "shown"}),
        ("import numpy\ndef f(): ...\nclass C: ...\n__all__ = ['f']", {"f"}),
        ("__version__ = '1'\n__author__ = 'x'", {"__version__"}),
    ],
)
def test_a_name_that_is_added_is_seen(source: str, names: set[str]) -> None:
    assert public(source) == names
