"""Nothing of the package needs a system that only some of its users have.

Linux, macOS and Windows: what Python itself has on each of them is read from typeshed's stubs,
which come with mypy.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import operator
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_dependencies import modules

SYSTEMS = ("linux", "darwin", "win32")
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.GtE: operator.ge, ast.Lt: operator.lt,
}  # fmt: skip
PLACE = re.compile(r"/(bin|dev|etc|home|opt|proc|root|run|sys|tmp|usr|var)(/|$)")
# Of event loops: none of these on Windows, although the class has them.
OF_LOOPS = {"add_reader", "add_signal_handler", "add_writer", "remove_reader", "remove_writer"}
OF_PROCESSES = {"preexec_fn", "pass_fds"}
# On Windows, the first ends a process whatever the signal, and the second lets two programs listen
# on one port.
UNLIKE = {"os.kill", "socket.SO_REUSEADDR"}

CORES = "asked for by hasattr; elsewhere all cores count"
GROUP = "on Windows the process is ended in another way"
LINUX = "what only Linux tells is left out elsewhere, or the command says that it needs Linux"

# What not every system has, by the module that uses it, and why that does no harm.
FORKS = "asked for by hasattr: what cannot fork needs none"
GUARDED = {
    "agents.memory": {"os.sysconf": "asked for by sysconf_names; elsewhere nothing is checked"},
    "cli_logging": {"os.register_at_fork": FORKS},
    "cores": {"os.sched_getaffinity": CORES},
    "envs.link.executable": {
        "/dev/stdout": "os.devnull on Windows",
        "socket.SO_REUSEADDR": "on POSIX systems only",
    },
    "envs.serving.listening": {"remove_reader": "`event_loops.run` takes a loop that has it"},
    "envs.simulator.kernel_cache": {"os.getuid": "not on Windows, where folders are private"},
    "envs.simulator.parallel": {"os.register_at_fork": FORKS},
    "experiments.dashboard": {"socket.SO_REUSEADDR": "on POSIX systems only"},
    "experiments.driver_bench": {
        "/proc/self/task": LINUX,
        "os.sched_getaffinity": LINUX,
        "os.sched_setaffinity": LINUX,
    },
    "experiments.driver_process": {
        "resource.RLIMIT_DATA": "ImportError is expected: memory is then not limited",
        "resource.setrlimit": "ImportError is expected: memory is then not limited",
    },
    "experiments.file_locks": {
        "fcntl.LOCK_EX": "msvcrt on Windows",
        "fcntl.LOCK_NB": "msvcrt on Windows",
        "fcntl.flock": "msvcrt on Windows",
        "msvcrt.LK_NBLCK": "on Windows only",
        "msvcrt.locking": "on Windows only",
    },
    "experiments.process_clock": {
        "/proc/cpuinfo": LINUX,
        "/proc/self/stat": LINUX,
        "os.sysconf": LINUX,
        "time.CLOCK_BOOTTIME": LINUX,
        "time.clock_gettime": LINUX,
    },
    "experiments.proof.commands": {"os.getloadavg": "asked for by hasattr; else no load is told"},
    "experiments.race_bench": {"/proc": LINUX, "/proc/self/status": LINUX},
    "experiments.sweeps.worker": {"/proc/self/statm": LINUX, "os.sysconf": LINUX},
    "experiments.sweeps.worker_process": {
        "os.kill": "signal.raise_signal on Windows",
        "os.sched_setaffinity": "asked for by hasattr; elsewhere only threads are limited",
    },
    "process_groups": {"os.killpg": GROUP, "signal.SIGKILL": GROUP},
    "race_server.drive_socket": {"/proc/net/route": "elsewhere no gateway is known"},
    "race_server.page.serving": {"os.nice": "AttributeError is expected: it is then not nice"},
    "race_server.rehearsal.racers": {
        "resource.RLIMIT_FSIZE": LINUX,
        "resource.prlimit": LINUX,
    },
    "stop_signals": {"signal.SIGHUP": "not asked for on Windows"},
}


def holds(test: ast.expr, system: str) -> bool:
    """Whether a condition of a stub holds on a system, with this Python."""
    match test:
        case ast.BoolOp(op=ast.And()):
            return all(holds(each, system) for each in test.values)
        case ast.BoolOp():
            return any(holds(each, system) for each in test.values)
        case ast.Compare(left=left, ops=[comparison], comparators=[right]):
            known = {"sys.platform": system, "sys.version_info": sys.version_info[:2]}
            return bool(
                COMPARISONS[type(comparison)](known[ast.unparse(left)], ast.literal_eval(right))
            )
    raise ValueError(f"Expected a system or a version. Received: {ast.unparse(test)}")


def defined(body: list[ast.stmt], system: str) -> Iterator[str]:
    """Yields the names that a stub defines on a system."""
    for node in body:
        match node:
            case ast.If():
                yield from defined(node.body if holds(node.test, system) else node.orelse, system)
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign():
                yield from (each.id for each in node.targets if isinstance(each, ast.Name))


@functools.cache
def not_everywhere(module: str) -> frozenset[str]:
    """Returns the names of a module of Python's own that some system lacks."""
    mypy = importlib.util.find_spec("mypy")
    assert mypy is not None
    assert mypy.submodule_search_locations
    stubs = Path(mypy.submodule_search_locations[0], "typeshed", "stdlib")
    place = stubs.joinpath(*module.split("."))
    for file in (place.with_suffix(".pyi"), place / "__init__.pyi"):
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            by_system = [frozenset(defined(body, system)) for system in SYSTEMS]
            return frozenset.union(*by_system) - frozenset.intersection(*by_system)
    return frozenset()


def lacks_encoding(call: ast.Call) -> str | None:
    """Returns the name of a call that opens a text in whatever encoding the system has."""
    given = {word.arg: word.value for word in call.keywords}
    match call.func:
        case ast.Name(id="open" as name):
            text = is_text([*call.args[1:2], given.get("mode", ast.Constant("r"))][0])
        case ast.Attribute(attr="open" as name):
            # Of a path; much else has an `open` of its own, which takes no mode.
            text = is_text([*call.args[:1], given.get("mode")][0])
        case ast.Attribute(attr="fdopen" as name):
            text = is_text([*call.args[1:2], given.get("mode", ast.Constant("r"))][0])
        case ast.Attribute(attr="read_text" as name):
            text = not call.args
        case ast.Attribute(attr="write_text" as name):
            text = len(call.args) < 2
        case _:
            return None
    return name if text and "encoding" not in given else None


def is_text(mode: ast.expr | None) -> bool:
    """Whether something is the mode of a text file."""
    return isinstance(mode, ast.Constant) and bool(re.fullmatch("[rwaxt+]+", str(mode.value)))


def of_node(node: ast.AST, aliases: dict[str, str], prose: set[int]) -> Iterator[str]:
    """Yields what one node of a source uses."""
    match node:
        case ast.ImportFrom(module=str(module)):
            lacking = {alias.name for alias in node.names} & not_everywhere(module)
            yield from (f"{module}.{name}" for name in lacking)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in aliases:
            used = f"{aliases[name]}.{attribute}"
            if attribute in not_everywhere(aliases[name]) or used in UNLIKE:
                yield used
        case ast.Attribute(attr=attribute) if attribute in OF_LOOPS:
            yield attribute
        case ast.Constant(value=str(text)) if PLACE.match(text) and id(node) not in prose:
            yield text
        case ast.Call():
            yield from (f"{word.arg}=" for word in node.keywords if word.arg in OF_PROCESSES)
            if opener := lacks_encoding(node):
                yield f"{opener} without encoding"


def findings(source: str) -> set[str]:
    """Returns what a source uses that is not on every system, or not the same on each."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    aliases = {alias.asname or alias.name: alias.name for alias in imported}
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return {found for node in nodes for found in of_node(node, aliases, prose)}


def test_each_use_of_what_some_system_lacks_is_guarded() -> None:
    found = {name: findings(path.read_text(encoding="utf-8")) for name, path in modules()}
    known = {name: set(reasons) for name, reasons in GUARDED.items()}
    assert {name: uses for name, uses in found.items() if uses} == known


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nos.fork()", {"os.fork"}),
        ("import os as system\nsystem.getuid()", {"os.getuid"}),
        ("from os import killpg", {"os.killpg"}),
        ("import os\nos.kill(1, 2)", {"os.kill"}),
        ("def f():\n    import fcntl\n    fcntl.flock(1, 2)", {"fcntl.flock"}),
        ("from pwd import getpwnam", {"pwd.getpwnam"}),
        ("import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)", {"signal.SIGHUP"}),
        ("import select\nselect.poll()", {"select.poll"}),
        ("import socket\nsocket.socket(socket.AF_UNIX)", {"socket.AF_UNIX"}),
        ("import winreg\nwinreg.OpenKey", {"winreg.OpenKey"}),
        ("loop.add_signal_handler(2, end)", {"add_signal_handler"}),
        ("import subprocess\nsubprocess.run(w, preexec_fn=f)", {"preexec_fn="}),
        ("place = f'/tmp/{name}'", {"/tmp/"}),
        ("'/proc/self is told of here only.'", set()),
        ("path = '/wsDrive'", set()),
        ("open(name)", {"open without encoding"}),
        ("open(name, 'w')", {"open without encoding"}),
        ("open(name, 'rb')", set()),
        ("open(name, encoding='utf-8')", set()),
        ("path.open('a+')", {"open without encoding"}),
        ("link.open()", set()),
        ("os.fdopen(number, 'w')", {"fdopen without encoding"}),
        ("path.read_text()", {"read_text without encoding"}),
        ("path.read_text('utf-8')", set()),
        ("path.write_text(text)", {"write_text without encoding"}),
        ("path.write_text(text, encoding='utf-8')", set()),
        ("import os, signal\nos.getpid(), signal.SIGTERM, os.replace", set()),
    ],
)
def test_what_some_system_lacks_is_seen(source: str, expected: set[str]) -> None:
    assert findings(source) == expected
