"""The package index that pip is configured for here, asked through uv.

uv resolves for any system and version of Python. pip does not: it reads the markers of the system
that it runs on. No part of the project needs uv: the Makefile installs it for these checks.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from typing import Any

from scripts.checks import ROOT, CheckError

# pip's name, and uv's variable with what it puts between several values.
_OPTIONS = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", ""),
}
# pip's scopes, the weakest first.
_SCOPES = ("global", "user", "site", ":env:")


class ResolutionError(CheckError):
    """No set of packages fits; the message is uv's."""


def project() -> dict[str, Any]:
    """Returns the table ``[project]`` of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def plain(requirement: str) -> str:
    """Returns the name in a requirement as the index writes it.

    >>> plain("Typing_Extensions[a]>=4; python_version > '3'")
    'typing-extensions'
    """
    name = re.split(r"[\s<>=!~;\[(]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def from_pip(listed: str) -> dict[str, str]:
    r"""Returns what ``pip config list`` said as variables of uv.

    >>> from_pip("global.find-links='/wheels'\n:env:.find-links='/a /b'\\nuser.timeout='9'")
    {'UV_FIND_LINKS': '/a,/b'}
    """
    found: dict[str, tuple[int, str]] = {}
    for scope, name, value in re.findall(r"^(.+?)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE):
        if name in _OPTIONS and scope in _SCOPES:
            variable, between = _OPTIONS[name]
            words = between.join(value.replace("\\n", " ").split()) if between else value
            found[variable] = max(found.get(variable, (-1, "")), (_SCOPES.index(scope), words))
    return {variable: value for variable, (_, value) in found.items()}


def environment() -> dict[str, str]:
    """Returns the environment for uv: the index, certificate and constraints that pip has."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Of several indexes pip takes the best version, uv by itself the first that has any.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **from_pip(listed), **os.environ}


def uv(*words: str, given: str = "") -> str:
    """Runs uv and returns what it printed.

    Args:
        words: What follows ``uv``.
        given: Its standard input.

    Raises:
        ResolutionError: It ended with an error.
    """
    if importlib.util.find_spec("uv") is None:
        raise SystemExit(f"This needs uv: {sys.executable} -m pip install uv")
    done = subprocess.run(
        [sys.executable, "-m", "uv", *words],
        cwd=ROOT, env=environment(), input=given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ResolutionError(done.stderr.strip())
    return done.stdout


def resolve(requirements: list[str], python: str, system: str, *options: str) -> dict[str, str]:
    """Returns the newest packages that are there as wheels and fit together.

    Args:
        requirements: As in pyproject.toml.
        python: Such as ``3.12``.
        system: uv's name, such as ``windows``.
        options: Further words of ``uv pip compile``.

    Raises:
        ResolutionError: There are none.
    """
    text = uv(
        "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python-version", python, "--python-platform", system, *options,
        given="\n".join(requirements),
    )  # fmt: skip
    pins = (line.partition(" ")[0].partition("==") for line in text.splitlines() if "==" in line)
    return {plain(name): version for name, _, version in pins}
