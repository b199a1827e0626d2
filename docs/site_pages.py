"""The pages of the documentation that are made from the code, each time the site is built.

`write` makes them in the folder ``docs/generated``: one page a metric, the API reference, every
command with its options, every setting of a training, and the documents that lie at the top of
the repository. `conf.py` calls it before Sphinx reads anything.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import typer

from donkey_rl import cli
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.metrics import registry
from donkey_rl.metrics.registry import Metric
from donkey_rl.setting_keys import models_in

DOCS = Path(__file__).parent
GENERATED = DOCS / "generated"

DOCUMENTS = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}
"""Documents at the top of the repository that the site shows, by the name of their page."""

API: dict[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "envs": (
        "Environments, tracks and cars",
        {
            "donkey_rl.envs.environment": ("DonkeyEnv",),
            "donkey_rl.envs.vector": ("DonkeyVectorEnv",),
            "donkey_rl.envs.vec_env": ("SB3View", "make"),
            "donkey_rl.envs.registration": ("make", "make_vector"),
            "donkey_rl.envs.settings": ("EnvironmentConfig",),
            "donkey_rl.envs.tasks": ("TaskConfig", "Facts", "endings", "reward_terms"),
            "donkey_rl.envs.latency": ("LatencyConfig",),
            "donkey_rl.envs.opponents": ("OpponentConfig",),
            "donkey_rl.envs.pursuit": ("Pursuit",),
            "donkey_rl.envs.simulator.track": ("Track", "names", "load"),
            "donkey_rl.envs.simulator.vehicle": ("Vehicle", "names", "load"),
            "donkey_rl.envs.simulator.sensors": ("CameraConfig",),
            "donkey_rl.envs.simulator.randomisation": ("Randomisation",),
            "donkey_rl.envs.simulator.world": ("World",),
            "donkey_rl.envs.simulator.interface": ("Simulator",),
        },
    ),
    "agents": (
        "Agents, encoders and drivers",
        {
            "donkey_rl.agents.sac.sac": ("SAC",),
            "donkey_rl.agents.sac.config": ("SACConfig",),
            "donkey_rl.agents.ppo.ppo": ("PPO",),
            "donkey_rl.agents.ppo.config": ("PPOConfig",),
            "donkey_rl.agents.imitation.config": ("ImitationConfig",),
            "donkey_rl.agents.augmentation.config": ("AugmentationConfig",),
            "donkey_rl.agents.encoders.base": ("Encoder", "names", "encoder_class"),
            "donkey_rl.agents.encoders.config": (
                "LaneEncoderConfig",
                "AutoencoderConfig",
                "CnnEncoderConfig",
            ),
            "donkey_rl.agents.encoders.lane": ("LaneEncoder",),
            "donkey_rl.agents.encoders.autoencoder": ("Autoencoder",),
            "donkey_rl.agents.encoders.cnn": ("CnnEncoder",),
            "donkey_rl.agents.driver": ("Driver",),
            "donkey_rl.agents.lite_driver": ("LiteDriver",),
            "donkey_rl.agents.ensemble": ("Ensemble", "load"),
            "donkey_rl.agents.manifest": ("Manifest", "DriverDescription", "read"),
        },
    ),
    "metrics": (
        "Races and metrics",
        {
            "donkey_rl.metrics.race": ("Race", "RaceRecorder", "columns_of"),
            "donkey_rl.metrics.race_header": ("RaceHeader", "HostTiming", "Crossing"),
            "donkey_rl.metrics.race_file": ("save", "load", "frames"),
            "donkey_rl.metrics.registry": (
                "Metric",
                "metric",
                "names",
                "load",
                "from_file",
                "score",
                "score_races",
                "Table",
                "Failure",
            ),
            "donkey_rl.metrics.conformance": ("check_metric",),
            "donkey_rl.metrics.laps": ("Lap", "laps", "crossings", "completion", "best_clean_lap"),
            "donkey_rl.metrics.heat": ("Heat", "heat", "checkpoints"),
            "donkey_rl.metrics.limits": ("OptimalLine", "lap_s", "line"),
            "donkey_rl.metrics.statistics": (
                "Interval",
                "Summary",
                "Difference",
                "summarise",
                "proportion",
                "paired",
                "adjust",
                "detectable",
                "least_pairs",
            ),
            "donkey_rl.metrics.robustness": ("score_kept", "robustness"),
        },
    ),
    "experiments": (
        "Experiments: training, evaluating, comparing",
        {
            "donkey_rl.experiments.config": ("TrainingConfig", "RaceConfig", "StartConfig"),
            "donkey_rl.experiments.check_config": ("CheckConfig",),
            "donkey_rl.experiments.training": ("train", "resume"),
            "donkey_rl.experiments.training_result": ("TrainingResult",),
            "donkey_rl.experiments.evaluation": ("EvaluationRequest", "evaluate"),
            "donkey_rl.experiments.evaluation_result": ("EvaluationResult",),
            "donkey_rl.experiments.comparison": ("ComparisonRequest", "Comparison", "compare"),
            "donkey_rl.experiments.leaderboard": (
                "LeaderboardRequest",
                "Leaderboard",
                "leaderboard",
            ),
            "donkey_rl.experiments.pictures": ("PicturesRequest", "PicturesResult", "draw"),
            "donkey_rl.experiments.reporting.report": ("ReportRequest", "ReportResult", "write"),
            "donkey_rl.experiments.stored_races": ("StoredRaces", "read"),
            "donkey_rl.experiments.stored_runs": ("StoredRun", "find"),
        },
    ),
    "errors": (
        "Errors and configurations",
        {
            "donkey_rl.errors": (),
            "donkey_rl.configuration": (
                "Config",
                "validate",
                "with_settings",
                "read_recipe",
                "recipes",
                "keys",
            ),
        },
    ),
}
"""The API reference: for each page its title and, by module, the names it shows; () for all."""


LISTS: dict[str, dict[str, str]] = {
    "api": {f"api/{name}.rst": title for name, (title, _) in API.items()},
    "reference": {"commands.rst": "Commands", "settings.rst": "Settings of a training"},
    "project": {
        f"{name}.md": name.capitalize()
        for name, file in DOCUMENTS.items()
        if (DOCS.parent / file).exists()
    },
}
"""The pages that a page lists where it says so, by what it calls them: path and title."""


def write() -> None:
    """Makes all pages in `GENERATED`; one that stays as it is is not written again."""
    made = {GENERATED / path: text for path, text in pages().items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in GENERATED.rglob("*.*"):
        if path not in made:
            path.unlink()


def pages() -> dict[str, str]:
    """Returns the text of every page by its path below `GENERATED`."""
    made = {f"metrics/{name}.rst": metric_page(registry.load(name)) for name in registry.names()}
    made |= {f"api/{name}.rst": api_page(*API[name]) for name in API}
    made |= {"commands.rst": commands_page(), "settings.rst": settings_page(TrainingConfig)}
    for name, file in DOCUMENTS.items():
        document = DOCS.parent / file
        if document.exists():
            made[f"{name}.md"] = moved(document.read_text(encoding="utf-8"))
    return made


def metric_page(metric: Metric) -> str:
    """Returns the page of a metric: what `donkey-rl metrics` says, and its docstring."""
    plain = inspect.getdoc(metric.score) or ""
    first, *rest = plain.split("\n\n")
    facts = {
        "unit": metric.unit or "none: a count, a share or a score",
        "better": metric.direction,
        "range": bounds(metric.low, metric.high),
        "defined in": f"``{metric.source}``",
    }
    lines = [*_title(metric.name, "="), first, "", *_table("", facts.items()), ""]
    for k, paragraph in enumerate(rest):
        example = paragraph.lstrip().startswith(">>>")
        if example:
            lines += [*_title("Example", "-"), "Worked out by hand; the tests run it.", ""]
        elif k == 0:
            lines += _title("Formula", "-")
        lines += [paragraph, ""]
    return "\n".join(lines)


def bounds(low: float, high: float) -> str:
    """Returns a range in words."""
    if math.isinf(low) and math.isinf(high):
        return "any number"
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"


def api_page(title: str, modules: Mapping[str, tuple[str, ...]]) -> str:
    """Returns a page of the API reference.

    Args:
        title: Its title.
        modules: The names it shows by module, () for all that the module defines.
    """
    lines = _title(title, "=")
    for module, names in modules.items():
        lines += _title(module, "-")
        lines += [f".. automodule:: {module}"]
        if names:
            lines += [f"   :members: {', '.join(names)}", "   :member-order: bysource", ""]
        else:
            lines += ["   :members:", "   :show-inheritance:", ""]
    return "\n".join(lines)


def commands_page() -> str:
    """Returns the page of all commands, as their `--help` has them."""
    program = typer.main.get_command(cli.app)
    context = program.make_context("donkey-rl", [], resilient_parsing=True)
    lines = [
        *_title("Commands", "="),
        "Every command with its options, as ``--help`` after it shows them.",
        "",
    ]
    for words, command, inner in _commands(program, context):
        lines += [*_title(f"donkey-rl {words}", "-"), (command.help or "").strip(), ""]
        lines += [".. code-block:: text", ""]
        lines += [f"   {' '.join([inner.command_path, *command.collect_usage_pieces(inner)])}", ""]
        records = [each.get_help_record(inner) for each in command.get_params(inner)]
        told = [(f"``{record[0]}``", _escaped(record[1])) for record in records if record]
        if told:
            lines += [*_table("option,meaning", told), ""]
        if command.epilog:
            example = command.epilog.removeprefix("Example: ")
            lines += ["Example:", "", ".. code-block:: sh", "", f"   {example}", ""]
    return "\n".join(lines)


def _commands(group: Any, context: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the words, the command and its context of everything that can be typed."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        words = f"{path} {name}".strip()
        if hasattr(command, "list_commands"):
            if command.invoke_without_command:
                yield words, command, inner
            yield from _commands(command, inner, words)
        elif not command.hidden:
            yield words, command, inner


def settings_page(model: type[pydantic.BaseModel]) -> str:
    """Returns the page of all settings of a training, with defaults, ranges and meaning."""
    lines = [
        *_title("Settings of a training", "="),
        "``donkey-rl train --set KEY=VALUE`` changes one, a recipe several. A default that "
        "depends on other settings is shown as None.",
        "",
    ]
    for heading, prefix, values in _groups("The run", "", model()):
        lines += [*_title(heading, "-"), *_settings(prefix, values), ""]
    return "\n".join(lines)


def fields_table(model: type[pydantic.BaseModel]) -> list[str]:
    """Returns the fields of a configuration class as a table in reStructuredText."""
    meanings = _attributes(model)
    rows = [
        (f"``{name}``", _default(field), _meaning(field, meanings.get(name, "")), _range(field))
        for name, field in model.model_fields.items()
    ]
    return _table("field,default,meaning,range", rows)


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
    return _table("setting,default,meaning,range", rows) if rows else ["Groups only."]


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
    return _escaped(field.description) if field.description else documented


def _attributes(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """Returns what the `Attributes:` of a class's docstring, or of its bases, say by name."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", inspect.getdoc(each) or "", re.M)
        if each.__doc__ and section:
            text = re.sub(r"\n {8,}", " ", section[1])
            found |= dict(re.findall(r"^ {4}(\w+): (.*)$", text, re.M))
    return found


def moved(text: str) -> str:
    """Returns a document of the top folder with links as they are from `GENERATED`.

    A link to a page of docs/ leads to it, one to another document of the top folder to its page;
    what the site does not show, such as the licence, is named without a link.
    """
    names = {file: f"{name}.md" for name, file in DOCUMENTS.items()}

    def there(link: re.Match[str]) -> str:
        label, target = link.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return link[0]
        if path.startswith("docs/"):
            return f"[{label}](../{target.removeprefix('docs/')})"
        if path in names and (DOCS.parent / path).exists():
            return f"[{label}]({names[path]}{'#' + anchor if anchor else ''})"
        return label

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", there, text)


def _title(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _table(heads: str, rows: Any) -> list[str]:
    """Returns a table; `heads` are its column heads with commas, none for a table of facts."""
    lines = [".. list-table::"]
    lines += ["   :header-rows: 1"] if heads else ["   :stub-columns: 1"]
    lines += ["   :class: told", ""]
    for row in ([heads.split(",")] if heads else []) + [list(row) for row in rows]:
        for k, cell in enumerate(row):
            lines.append(f"   {'* -' if k == 0 else '  -'} {' '.join(str(cell).split())}".rstrip())
    return lines


def _escaped(text: str) -> str:
    """Returns plain text so that reStructuredText shows it as it is."""
    return re.sub(r"([\\*`|]|(?<=\w)_(?!\w))", r"\\\1", text)
