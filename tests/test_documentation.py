"""What the documents show runs, and what they point at exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
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


def test_readme_shows_both_commands_and_python_on_its_first_screen() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert {"make train", "make test"} <= {line.split("  ")[0] for line in first}
    assert "```python" in first


@pytest.mark.parametrize(
    "name", ["README.md", "docs/configuration.md", "docs/simulator.md", "docs/environments.md"]
)
def test_python_of_document_runs(name: str, tmp_path: Path) -> None:
    (program,) = blocks(name, "python")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_settings_of_configuration_page_exist() -> None:
    from donkey_rl import configuration
    from donkey_rl.experiments.config import TrainingConfig

    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    shown = {key for key in re.findall(r"--set ([a-z_.]+)=", page) if key != "key"}
    assert shown <= set(configuration.keys(TrainingConfig))
    for recipe in blocks("docs/configuration.md", "yaml"):
        configuration.validate(TrainingConfig, configuration._load_yaml(recipe))
