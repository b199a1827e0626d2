"""The page about `race.yaml` says what its keys are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from donkey_rl import configuration
from donkey_rl.errors import ConfigurationError
from donkey_rl.race_server.config import DriveConfig, RaceConfig

PAGE = Path(__file__).parents[1] / "docs" / "race_server.md"


def shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value).replace('"', "")
    return f"`{text}`" if text else "empty"


def test_every_key_stands_on_the_page_with_its_default() -> None:
    values = RaceConfig(drive=DriveConfig()).model_dump(mode="json")
    wanted = []
    for key in configuration.keys(RaceConfig):
        value = values
        for part in key.split("."):
            value = value[part]
        wanted.append((key, shown(value)))
    section = PAGE.read_text(encoding="utf-8").partition("## race.yaml")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z_.]+)` \| (.*?) \| \S.* \|$", section, re.MULTILINE) == wanted


@pytest.mark.parametrize("name", ["a{b", "a}b", "a\nb", "a\x00b"])
@pytest.mark.parametrize("key", ["racer_name", "car_name", "bio", "country", "guid"])
def test_texts_that_hosts_would_cut_are_refused(key: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key}"):
        configuration.validate(RaceConfig, {key: name})
