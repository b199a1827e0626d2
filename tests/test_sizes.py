"""How large modules, functions and their lists of arguments may be, tests included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("donkey_rl", "agents", "envs", "experiments", "metrics", "race_server", "tests")
MOST_LINES, MOST_IN_FUNCTION, MOST_ARGUMENTS = 400, 60, 7

Function = ast.FunctionDef | ast.AsyncFunctionDef

WHY_MANY_ARGUMENTS = {
    "command": "Typer makes an option of each argument.",
    "callback": "Typer makes an option of each argument.",
    "njit": "Numba's inner loops are handed arrays and numbers, no configuration.",
}
"""By decorator, who may have more; of these the lines of the body count, not of the arguments."""


def modules() -> Iterator[Path]:
    """Yields all modules; the links inside donkey_rl/ lead to folders that are read themselves."""
    yield from (ROOT / "donkey_rl").glob("*.py")
    for name in FOLDERS[1:]:
        yield from (ROOT / name).rglob("*.py")


def decorators(function: Function) -> set[str]:
    """Returns the last names of what a function is decorated with."""
    called = (
        each.func if isinstance(each, ast.Call) else each for each in function.decorator_list
    )
    return {ast.unparse(each).rpartition(".")[2] for each in called}


def made_commands(tree: ast.Module) -> set[str]:
    """Returns the functions that become commands later: `app.command("import")(import_tub)`."""
    return {
        name.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Call)
        if ast.unparse(call.func.func).endswith(".command")
        for name in call.args
        if isinstance(name, ast.Name)
    }


def arguments(function: Function) -> int:
    """Counts what a caller hands over."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    rest = [each for each in (given.vararg, given.kwarg) if each is not None]
    return sum(each.arg not in ("self", "cls") for each in (*named, *rest))


def length(function: Function, *, body: bool) -> int:
    """Counts the lines of a function, or of what follows its docstring only."""
    first = function.lineno
    if body:
        has_text = ast.get_docstring(function) is not None and len(function.body) > 1
        first = function.body[has_text].lineno
    return (function.end_lineno or first) - first + 1


def too_large(source: str) -> list[str]:
    """Returns a line for each size that is beyond its bound."""
    tree = ast.parse(source)
    lines = source.count("\n")
    found = [f"{lines} lines"] if lines > MOST_LINES else []
    commands = made_commands(tree)
    for node in ast.walk(tree):
        if not isinstance(node, Function):
            continue
        exempt = node.name in commands or bool(decorators(node) & set(WHY_MANY_ARGUMENTS))
        size = length(node, body=exempt)
        if size > MOST_IN_FUNCTION:
            found.append(f"{node.name}: {size} lines")
        if arguments(node) > MOST_ARGUMENTS and not exempt:
            found.append(f"{node.name}: {arguments(node)} arguments")
    return found


def test_modules_functions_and_lists_of_arguments_keep_to_their_bounds() -> None:
    read = {path: too_large(path.read_text(encoding="utf-8")) for path in modules()}
    assert len(read) > 800
    assert [
        f"{path.relative_to(ROOT)}: {each}" for path, found in read.items() for each in found
    ] == []


EIGHT = "a, b, c, d, e, f, g, h"
LONG = "    x = 1\n" * 60


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * 401, ["401 lines"]),
        (f"def f():\n{LONG}", ["f: 61 lines"]),
        (f"class C:\n    async def f(self, {EIGHT}):\n        pass\n", ["f: 8 arguments"]),
        ("def f(a, b, c, d, *e, f, g, **h):\n    pass\n", ["f: 8 arguments"]),
        (f"@app.command()\ndef f():\n{LONG}    x = 1\n", ["f: 61 lines"]),
        (f"import app\n\n\ndef f({EIGHT}):\n    pass\n", ["f: 8 arguments"]),
    ],
)
def test_what_is_too_large_is_found(source: str, found: list[str]) -> None:
    assert too_large(source) == found


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n" * 400,
        f"def f():\n{LONG[:-10]}",
        "def f(self, a, b, c, d, e, f, g):\n    pass\n",
        f'@app.command(epilog="x")\ndef f({EIGHT}):\n    """Says."""\n{LONG}',
        f'def f({EIGHT}):\n    pass\n\n\napp.command("g")(f)\n',
        f"@njit(cache=True)\ndef f({EIGHT}):\n    pass\n",
    ],
)
def test_what_keeps_to_the_bounds_is_let_pass(source: str) -> None:
    assert too_large(source) == []
