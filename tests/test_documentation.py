"""What the documents show runs, and what they point at exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from donkey_rl import cli, yaml_dialect

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if "generated" not in path.parts
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name: str) -> None:
    folder = (ROOT / name).parent
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
    missing = [
        link for link in links if "://" not in link and not (folder / link).resolve().exists()
    ]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_files_of_the_code_are_where_documents_say(name: str) -> None:
    folders = "agents|donkey_rl|docs|envs|examples|experiments|metrics|race_server|scripts|tests"
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", text))
    assert {path for path in named if "NAME" not in path and not (ROOT / path).exists()} == set()


def test_readme_shows_both_commands_and_python_on_its_first_screen() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert {"make train", "make test"} <= {line.split("  ")[0] for line in first}
    assert "```python" in first


@pytest.mark.parametrize(
    "name", ["README.md", "docs/configuration.md", "docs/simulator.md", "docs/environments.md"]
)
def test_python_of_document_runs(name: str, tmp_path: Path) -> None:
    program = "\n".join(blocks(name, "python"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("agent", ["sac", "ppo", "imitation"])
def test_settings_of_agent_page_are_those_of_a_training(agent: str) -> None:
    from donkey_rl.experiments.config import TrainingConfig

    page = (ROOT / f"docs/agents/{agent}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, flags=re.MULTILINE)
    shown = {name: yaml_dialect.load(value) for name, value in rows}
    assert shown == getattr(TrainingConfig(), agent).model_dump(mode="json")


def test_page_of_recipes_shows_those_of_the_package() -> None:
    from donkey_rl import configuration

    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `--recipe ([a-z_]+)`", page, flags=re.MULTILINE))
    assert shown == set(configuration.recipes())


def commands_in(name: str) -> list[str]:
    """The lines of a document's code that begin with the command, and its inline code."""
    text = (ROOT / name).read_text(encoding="utf-8")
    fenced = r"^```\w*\n(.*?)^```$"
    code = "".join(re.findall(fenced, text, flags=re.MULTILINE | re.DOTALL))
    prose = re.sub(fenced, "", text, flags=re.MULTILINE | re.DOTALL)
    return [
        *re.findall(r"^donkey-rl .*", code, flags=re.MULTILINE),
        *re.findall(r"(?<=`)donkey-rl [^`]+(?=`)", prose),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_understood(name: str) -> None:
    program = typer.main.get_command(cli.app)
    bare = program.make_context("donkey-rl", [], resilient_parsing=True)
    options = {word for option in program.get_params(bare) for word in option.opts}
    for line in commands_in(name):
        words = shlex.split(line, comments=True)[1:]
        if words[0].startswith("-"):
            # Such options act as soon as they are read.
            assert words[0] in options, line
            continue
        # Building the context reads the words and refuses unknown ones; nothing runs.
        group = program.make_context("donkey-rl", list(words))
        command = program.get_command(group, words[0])
        assert command is not None, line
        command.make_context(words[0], words[1:])


def test_settings_of_configuration_page_exist() -> None:
    from donkey_rl import configuration
    from donkey_rl.experiments.config import TrainingConfig

    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    shown = {key for key in re.findall(r"--set ([a-z_.]+)=", page) if key != "key"}
    assert shown <= set(configuration.keys(TrainingConfig))
    for recipe in blocks("docs/configuration.md", "yaml"):
        configuration.validate(TrainingConfig, yaml_dialect.load(recipe))
