"""Command lines as this system's shell takes them, for a person to copy."""

from __future__ import annotations

import os
import shlex
import subprocess


def quoted(*words: str) -> str:
    r"""Returns words as one line, quoted where they need it.

    >>> if os.name != "nt":
    ...     quoted("plot", "my runs")
    ... else:
    ...     quoted("plot", "my runs").replace('"', "'")
    "plot 'my runs'"
    """
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def with_variable(name: str, value: str, line: str) -> str:
    """Returns a line that is to be typed with an environment variable.

    On Windows this is said in words, since its shells set variables in different ways.
    """
    if os.name == "nt":
        return f"{line}  (with {name} set to {value})"
    return f"{name}={shlex.quote(value)} {line}"
