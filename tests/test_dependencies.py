"""Who may import whom: dependencies point one way, and nobody reaches into another's insides."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUBPACKAGES = ("agents", "envs", "experiments", "metrics", "race_server")

NUMERICS = frozenset({"numpy", "numba", "scipy", "pydantic"})
LEARNING = frozenset({"tensorflow", "keras", "ai_edge_litert"})
RECORDS = frozenset({"mlflow", "optuna"})


@dataclass(frozen=True)
class Rule:
    """What the modules of a folder may import.

    Attributes:
        ours: The parts of donkey_rl beside the core and the folder itself.
        third_party: The only other distributions, or None for any but those kept to one folder.
    """

    ours: frozenset[str]
    third_party: frozenset[str] | None = None


# The longest matching folder counts.
RULES = {
    "metrics": Rule(frozenset(), NUMERICS | {"pyarrow"}),
    "envs.simulator": Rule(frozenset(), NUMERICS),
    "envs": Rule(frozenset({"metrics"})),
    "agents": Rule(frozenset()),
    "experiments": Rule(frozenset(SUBPACKAGES)),
    "race_server": Rule(frozenset(SUBPACKAGES)),
    "cli": Rule(frozenset(SUBPACKAGES)),
    "cli_augment": Rule(frozenset(SUBPACKAGES)),
    "cli_data": Rule(frozenset(SUBPACKAGES)),
    "cli_ensemble": Rule(frozenset(SUBPACKAGES)),
    "cli_evaluate": Rule(frozenset(SUBPACKAGES)),
    "cli_export": Rule(frozenset(SUBPACKAGES)),
    "cli_metrics": Rule(frozenset(SUBPACKAGES)),
    "cli_output": Rule(frozenset(SUBPACKAGES)),
    "cli_pictures": Rule(frozenset(SUBPACKAGES)),
    "cli_prove": Rule(frozenset(SUBPACKAGES)),
    "cli_race": Rule(frozenset(SUBPACKAGES)),
    "cli_race_init": Rule(frozenset(SUBPACKAGES)),
    "cli_race_records": Rule(frozenset(SUBPACKAGES)),
    "cli_race_rehearse": Rule(frozenset(SUBPACKAGES)),
    "cli_record": Rule(frozenset(SUBPACKAGES)),
    "cli_report": Rule(frozenset(SUBPACKAGES)),
    "cli_results": Rule(frozenset(SUBPACKAGES)),
    "cli_runs": Rule(frozenset(SUBPACKAGES)),
    "cli_simulators": Rule(frozenset(SUBPACKAGES)),
    "cli_sweep": Rule(frozenset(SUBPACKAGES)),
    "cli_tracks": Rule(frozenset(SUBPACKAGES)),
    "cli_tub": Rule(frozenset(SUBPACKAGES)),
    "cli_train": Rule(frozenset(SUBPACKAGES)),
    "cli_version": Rule(frozenset(SUBPACKAGES)),
    "": Rule(frozenset()),
}
KEPT_TO = {
    **dict.fromkeys(LEARNING, "agents"),
    **dict.fromkeys(RECORDS, "experiments"),
    "ray": "experiments.cluster",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Yields each module below donkey_rl, as envs.simulator.track, with its file."""
    for path in (ROOT / "donkey_rl").glob("*.py"):
        yield path.stem, path
    for name in SUBPACKAGES:
        for path in (ROOT / name).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


def imports(source: str) -> set[str]:
    """Returns the full names that a source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {
                f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names
            }
    return names


def is_within(name: str, folder: str) -> bool:
    return not folder or name == folder or name.startswith(folder + ".")


def violations(module: str, source: str) -> list[str]:
    """Returns one line for each import that the rules forbid."""
    folder = max((each for each in RULES if is_within(module, each)), key=len)
    found = []
    for name in sorted(imports(source)):
        top, _, rest = name.partition(".")
        if not top or top in SUBPACKAGES:
            found.append(f"{module} imports {name}, not donkey_rl.{rest or name}")
        elif top == "donkey_rl":
            if not may_know(module, folder, rest):
                found.append(f"{module} imports {name}")
        elif not may_use(module, folder, top):
            found.append(f"{module} imports {name}")
    return found


def may_know(module: str, folder: str, ours: str) -> bool:
    """Whether a module may import this part of donkey_rl."""
    part = ours.split(".")[0]
    if part == "cli":
        return module == "__main__"
    if part.startswith("cli_"):
        return module.startswith("cli")
    if part not in SUBPACKAGES:
        return True
    return any(is_within(ours, each) for each in {folder, *RULES[folder].ours} - {""})


def may_use(module: str, folder: str, distribution: str) -> bool:
    """Whether a module may import this top-level name of somebody else."""
    if distribution in KEPT_TO:
        return is_within(module, KEPT_TO[distribution])
    allowed = RULES[folder].third_party
    return allowed is None or distribution in allowed or distribution in sys.stdlib_module_names


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_module_imports_only_what_its_folder_may(module: str, path: Path) -> None:
    assert violations(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics.laps", "from donkey_rl.envs.simulator import track"),
        ("metrics.laps", "import pandas"),
        ("envs.simulator.world", "import gymnasium"),
        ("envs.simulator.world", "from donkey_rl.envs import vector"),
        ("envs.simulator.world", "from donkey_rl import envs"),
        ("envs.vector", "from donkey_rl.agents.driver import Driver"),
        ("agents.sac.sac", "from donkey_rl.envs import labels"),
        ("agents.sac.sac", "def f():\n    import mlflow.pyfunc"),
        ("experiments.training", "import tensorflow as tf"),
        ("experiments.training", "from donkey_rl.cli import app"),
        ("race_server.page", "from keras import layers"),
        ("experiments.training", "def f():\n    import ray"),
        ("errors", "from donkey_rl.metrics import laps"),
        ("agents.driver", "from agents import sac"),
        ("agents.driver", "from . import sac"),
    ],
)
def test_rules_catch_a_planted_import(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "metrics.race",
            "import json\nimport numpy as np\nfrom donkey_rl.errors import InputError",
        ),
        ("envs.simulator.world", "from donkey_rl.envs.simulator import track\nimport numba"),
        ("envs.vector", "from donkey_rl.metrics import race\nimport gymnasium"),
        ("agents.sac.sac", "import tensorflow\nfrom donkey_rl.agents import driver"),
        ("experiments.training", "import mlflow\nfrom donkey_rl.agents import driver"),
        ("cli", "from donkey_rl.experiments import training"),
        ("__main__", "from donkey_rl.cli import main"),
    ],
)
def test_rules_let_the_way_of_the_data_pass(module: str, source: str) -> None:
    assert violations(module, source) == []


# Cycles.

POINTS_BACK = {
    ("metrics.race", "metrics.race_file"): "a race saves itself and is loaded by its class",
    ("metrics.race", "metrics.race_parts"): "a race is loaded by its class",
    ("envs.simulators", "envs.link_source"): "links are opened only where an address is given",
}
"""Imports inside a function that lead back to the module they stand in, each with its reason."""


def ours(source: str, known: Mapping[str, object]) -> set[str]:
    """Returns the modules of the package that a source imports, wherever in it."""
    found = set()
    for name in imports(source):
        top, _, rest = name.partition(".")
        while top == "donkey_rl" and rest and rest not in known:
            rest = rest.rpartition(".")[0]
        if top == "donkey_rl" and rest:
            found.add(rest)
    return found


def graph_of(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Returns which modules each module imports."""
    return {module: ours(source, sources) - {module} for module, source in sources.items()}


def cycle(graph: Mapping[str, set[str]], allowed: set[tuple[str, str]]) -> list[str]:
    """Returns the modules of a cycle of imports in their order, none where there is none."""
    kept = {
        module: {other for other in others if (module, other) not in allowed}
        for module, others in graph.items()
    }
    try:
        graphlib.TopologicalSorter(kept).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in modules()}


def test_imports_make_no_cycle(sources: dict[str, str]) -> None:
    graph = graph_of(sources)
    assert cycle(graph, set(POINTS_BACK)) == []
    # Each exception is still needed.
    for pair in POINTS_BACK:
        assert cycle(graph, set(POINTS_BACK) - {pair}) != []


def test_a_planted_cycle_is_found() -> None:
    graph = graph_of(
        {
            "envs.a": "from donkey_rl.envs import b",
            "envs.b": "from donkey_rl.envs.c import Thing",
            "envs.c": "def f():\n    import donkey_rl.envs.a",
            "envs": "",
        }
    )
    assert set(cycle(graph, set())) == {"envs.a", "envs.b", "envs.c"}
    assert cycle(graph, {("envs.c", "envs.a")}) == []


# Insides.

NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}
FOREIGN = {
    "_n_updates": "Stable-Baselines3 keeps there what a checkpoint must hold",
    "_episode_num": "Stable-Baselines3, likewise",
    "_last_obs": "Stable-Baselines3, likewise",
    "_last_episode_starts": "Stable-Baselines3, likewise",
    "_stats_window_size": "Stable-Baselines3, likewise",
    "_setup_model": "Stable-Baselines3 loads its own agents by it",
    "_wrap_env": "Stable-Baselines3 loads its own agents by it",
    "_keras_history": "Keras says by it which layer made a tensor",
    "_inbound_nodes": "Keras says by it where a layer is called",
    "_trial_id": "Optuna's storages know a trial by it",
}
"""Of other packages, each with its reason."""


def reached(source: str) -> list[str]:
    """Returns the private names that a source takes from elsewhere.

    What a module itself defines is its own, in all its classes.
    """
    nodes = list(ast.walk(ast.parse(source)))
    own = NAMED_TUPLE | set(FOREIGN)
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_own(node.value):
            own.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found += [each.name for each in node.names if is_private(each.name)]
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            found.append(node.attr)
    return found


def is_own(value: ast.expr) -> bool:
    """Whether something is a method's own object or class."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_nobody_reaches_into_the_insides_of_another_module(sources: dict[str, str]) -> None:
    assert {name: found for name, text in sources.items() if (found := reached(text))} == {}


def test_each_foreign_name_is_still_taken(sources: dict[str, str]) -> None:
    text = "".join(sources.values())
    assert [name for name in FOREIGN if f".{name}" not in text] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from donkey_rl.envs.batch import _hidden", ["_hidden"]),
        ("def f(world):\n    return world._cars", ["_cars"]),
        ("from donkey_rl.envs import batch\nbatch._made()", ["_made"]),
        ("class A:\n    def f(self, other):\n        return self._x + other._x", []),
        ("def f(place):\n    return place._replace(x=1)", []),
        ("from donkey_rl import __version__", []),
    ],
)
def test_a_planted_reach_is_found(source: str, found: list[str]) -> None:
    assert reached(source) == found
