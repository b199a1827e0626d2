"""The servers that `compose.yaml` starts: on the loopback, with no password in the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[1] / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_services_are_on_the_loopback_and_looked_after(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"postgres", "mlflow"}
    for service in compose["services"].values():
        for port in service["ports"]:
            assert port.startswith("${DONKEY_RL_ADDRESS:-127.0.0.1}:")
        assert service["healthcheck"]["test"][0] == "CMD"
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]


def test_versions_are_pinned(compose: dict[str, Any]) -> None:
    assert re.fullmatch(r"postgres:\d+\.\d+", compose["services"]["postgres"]["image"])
    built = compose["services"]["mlflow"]["build"]["dockerfile_inline"]
    wanted = re.findall(r'"([^"]+)"', built)
    assert [each.partition("==")[0] for each in wanted] == ["mlflow", "psycopg[binary]"]
    assert all(re.fullmatch(r"[^=]+==\d+(\.\d+)+", each) for each in wanted)


def test_password_comes_from_outside_and_stands_in_no_command(compose: dict[str, Any]) -> None:
    text = FILE.read_text()
    given = re.findall(r"\$\{DONKEY_RL_PASSWORD[^}]*\}", text)
    assert given
    assert all(each.startswith("${DONKEY_RL_PASSWORD:?") for each in given)  # no default
    for service in compose["services"].values():
        assert "PASSWORD" not in " ".join(service.get("command", []))
    assert "postgresql+psycopg://donkey@postgres/mlflow" in text
