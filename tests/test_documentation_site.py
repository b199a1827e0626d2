"""The documentation site: its navigation, the pages made from the code, and what it refuses.

The whole site is built, with warnings as errors, by `make docs`. Here Sphinx builds two small
ones with the same configuration.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from donkey_rl import configuration
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.metrics import registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if "generated" not in path.parts
}
ITEM = re.compile(r"^- \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)
PIXEL = (
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def made() -> Iterator[ModuleType]:
    """The module that makes pages, as `docs/conf.py` imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        yield importlib.import_module("site_pages")


def listed(page: str) -> list[str]:
    """The pages that a page of the navigation lists, by their paths below docs/."""
    folder = (DOCS / page).parent
    return [
        (folder / link).resolve().relative_to(DOCS).as_posix()
        for link in ITEM.findall(PAGES[page])
    ]


def test_every_page_is_two_clicks_from_the_first_and_listed_once() -> None:
    first = listed("index.md")
    second = [page for section in first if "sections/" in section for page in listed(section)]
    found = ["index.md", *first, *second]
    assert sorted(found) == sorted(PAGES), "list each page once, in a page of docs/sections/"


def test_pages_outside_are_named_by_whole_addresses() -> None:
    links = {
        link.rstrip(".,;")
        for text in PAGES.values()
        for link in re.findall(
            r"(?<=\]\()[a-z]+://[^)\s]*(?=\))|(?<=<)https?://[^>\s]*(?=>)", text
        )
    }
    assert len(links) > 20
    for link in links:
        parts = urllib.parse.urlsplit(link)
        assert parts.scheme == "https", link
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), link
        assert not re.search(r"[\"'`<>\s]", link), link


def test_each_metric_has_a_page_of_what_its_code_says(made: ModuleType) -> None:
    pages = made.pages()
    for name in registry.names():
        page, metric = pages[f"metrics/{name}.rst"], registry.load(name)
        assert page.startswith(f"{name}\n{'=' * len(name)}\n\n{metric.description}\n")
        assert metric.source in page
        assert " ".join(metric.formula.split()) in " ".join(page.replace("``", "").split())
        assert ">>> " in page


def test_page_of_a_metric_word_by_word(made: ModuleType) -> None:
    page = made.metric_page(registry.load("top_speed"))
    cells = re.findall(r"^   (?:\* -|  -) (.*)$", page, re.MULTILINE)
    assert cells == [
        "unit", "u/s", "better", "higher", "range", "0 or more",
        "defined in", "``donkey_rl.metrics.scores``",
    ]  # fmt: skip
    assert "Formula\n-------\n\nGreatest ``speed``.\n" in page
    assert ">>> top_speed(drive([0.0, 0.1, 0.2], speed=[1.0, 3.0, 2.0]))\n3.0" in page


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0, float("inf"), "0 or more"),
        (0.0, 1.0, "0 to 1"),
        (-float("inf"), 2.5, "2.5 or less"),
        (-float("inf"), float("inf"), "any number"),
    ],
)
def test_ranges_in_words(made: ModuleType, low: float, high: float, words: str) -> None:
    assert made.bounds(low, high) == words


def test_page_of_settings_has_every_key_once(made: ModuleType) -> None:
    page = made.site_settings.settings_page(TrainingConfig)
    shown = re.findall(r"^   \* - ``([\w.]+)``$", page, re.MULTILINE)
    assert set(shown) == set(configuration.keys(TrainingConfig))
    row = page[page.index("* - ``ppo.gamma``") :].splitlines()[:4]
    told = ["- ``0.97``", "- Discount per step.", "- ≥ 0, ≤ 1"]
    assert [line.strip() for line in row[1:]] == told


def test_page_of_commands_has_those_of_groups_and_their_options(made: ModuleType) -> None:
    page = made.commands_page()
    heads = re.findall(r"^donkey-rl ([\w -]+)\n-+$", page, re.MULTILINE)
    assert {"train", "evaluate", "data push", "race", "race rehearse", "tracks show"} <= set(heads)
    assert len(heads) == len(set(heads))
    train = page[page.index("donkey-rl train\n---") :]
    train = train[: train.index("\ndonkey-rl ", 20)]
    assert "* - ``--recipe" in train
    assert "* - ``--json``" in train
    assert "that come with the package, for ``train --recipe``.\n" in page


def test_links_out_of_the_pages_lead_to_what_the_site_shows(made: ModuleType) -> None:
    text = (
        "[a](docs/tracks.md#the-scenes) [b](CHANGELOG.md) [c](LICENSE) [d](https://x.org) [e](#f)"
    )
    assert made.linked(text, ROOT, DOCS / "generated") == (
        "[a](../tracks.md#the-scenes) [b](changelog.md) c [d](https://x.org) [e](#f)"
    )
    assert made.linked("[a](../gone.md)", DOCS, DOCS) == "[a](../gone.md)"
    text = "[a](../../README.md) [b](../../examples/own_metric.py) ![c](../pictures/scaling.png)"
    assert made.linked(text, DOCS / "agents", DOCS / "agents") == (
        "[a](../index.md) [b](../generated/examples.md#own_metricpy) ![c](../pictures/scaling.png)"
    )
    # The title of a page says more than the name of its file.
    text = "[tracks.md](docs/tracks.md#the-scenes) [SECURITY.md](SECURITY.md) [LICENSE](LICENSE)"
    assert made.linked(text, ROOT, DOCS / "generated") == (
        "[](../tracks.md#the-scenes) [](security.md) LICENSE"
    )


def built(folder: Path, pages: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What Sphinx says of a small site with the configuration of the real one."""
    if importlib.util.find_spec("sphinx") is None:
        if os.environ.get("CI"):
            pytest.fail("Sphinx is not installed: pip install 'donkey-rl[docs]'.")
        pytest.skip("Sphinx is not installed.")
    source = folder / "source"
    source.mkdir()
    (source / "seen.png").write_bytes(bytes.fromhex(PIXEL))
    for name, text in pages.items():
        (source / name).write_text(text, encoding="utf-8")
    words = ["-W", "--keep-going", "-q", "-c", str(DOCS), str(source), str(folder / "site")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False
    )


def test_site_is_whole_without_a_network(tmp_path: Path) -> None:
    first = "# Site\n\n- [Other](other.md): a page\n\n![dot](seen.png) [there](other.md#a-head)\n"
    done = built(tmp_path, {"index.md": first, "other.md": "# Other\n\n## A head\n\nA word.\n"})
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"([^\"]+)\"", page)
    assert len(loaded) > 5
    for address in loaded:
        assert "//" not in address, address
        file = tmp_path / "site" / address.partition("?")[0].partition("#")[0]
        assert file.exists(), address
    styles = " ".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css")
    )
    assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", styles)
    assert "other" in (tmp_path / "site" / "searchindex.js").read_text(encoding="utf-8")


def test_site_shows_check_lists_properties_and_configurations(tmp_path: Path) -> None:
    first = (
        "# Site\n\n- [ ] To do\n\n```{eval-rst}\n"
        ".. autoproperty:: donkey_rl.metrics.race_header.RaceHeader.lap_length\n"
        ".. autoclass:: donkey_rl.envs.settings.EnvironmentConfig\n   :members:\n"
        ".. autoclass:: donkey_rl.envs.tasks.Facts\n   :members:\n```\n"
    )
    done = built(tmp_path, {"index.md": first})
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<input[^>]*type=\"checkbox\"[^>]*> ?To do", page)
    assert "<p>Length of a lap along the path (u): to the path" in page
    # A group of settings says what it is, a tuple its fields once, and nobody hears of pydantic.
    assert "<p>Lap driving: progress without leaving the road.</p>" in page
    assert "Way behind the best progress so far" in page
    assert "model_config" not in page
    assert "Alias for field" not in page


def test_site_with_flaws_is_refused(tmp_path: Path) -> None:
    first = (
        "# Site\n\n- [Other](other.md): a page\n\n![no](lost.png) [no](gone.md) "
        "[no](other.md#nowhere)\n"
    )
    pages = {"index.md": first, "other.md": "# Other\n", "lonely.md": "# In no list\n"}
    done = built(tmp_path, pages)
    assert done.returncode == 1
    for flaw in ("lost.png", "gone.md", "nowhere", "lonely.md"):
        assert any(flaw in line and "WARNING" in line for line in done.stderr.splitlines()), flaw
