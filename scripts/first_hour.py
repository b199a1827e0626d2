"""Walks docs/first_hour.md by its printed commands alone, and writes down how long each took.

    python scripts/first_hour.py . /tmp/first_hour

clones the first argument into the folder that is the second, which must not exist yet, and
carries out every line of the page's shell blocks there, in order and in one shell. It ends with
the first command that fails. What serves until Ctrl-C is asked for a page and then ended so.

The times are the folder's `times.md`: wall time, and processor time of the command and of all
processes that it waited for.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import re
import shlex
import signal
import subprocess
import sys
import time

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "first_hour.md"
ADDRESS = "ADDRESS_OF_THIS_REPOSITORY"
SERVES = "donkey-rl dashboard"
SERVED_AT = "http://127.0.0.1:5000"

_SERVED = """
asked() {{ python -c "import urllib.request as u; u.urlopen('{address}', timeout=9)"; }}
{command} & served=$!
while sleep 3; kill -0 $served 2>/dev/null; do asked 2>/dev/null && break; done
asked; answer=$?
kill -INT $served; wait $served; [ $answer = 0 ]
"""


def commands(page: str) -> list[str]:
    """Returns the lines of a page's shell blocks, in order, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def script(lines: list[str], address: str, times: pathlib.Path) -> str:
    """Returns a program for bash that carries out commands and writes the time of each."""
    parts = ["set -m", "TIMEFORMAT='%R %U %S'"]
    for line in lines:
        told = line.replace(ADDRESS, shlex.quote(address))
        body = _SERVED.format(command=told, address=SERVED_AT) if line == SERVES else told
        parts += [
            f"printf '\\n$ %s\\n' {shlex.quote(line)}",
            f"{{ time {{ {body}\n}} 2>&4 || exit 1; }} 4>&2 2>>{shlex.quote(str(times))}",
        ]
    return "\n".join(parts)


def table(lines: list[str], times: str) -> str:
    """Returns the times as a table; a command that did not come to its end has none."""
    rows = ["| command | wall time, s | processor time, s |", "|---|---|---|"]
    for line, took in zip(lines, times.splitlines(), strict=False):
        wall, user, system = map(float, took.split())
        rows.append(f"| `{line}` | {wall:.0f} | {user + system:.0f} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Walks the page; returns the exit code of the shell."""
    # Started in the background, this ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description="Walk docs/first_hour.md in a fresh clone.")
    parser.add_argument("address", help="What to clone: a folder or an address.")
    parser.add_argument("folder", type=pathlib.Path, help="Where to; it must not exist yet.")
    asked = parser.parse_args()
    local = pathlib.Path(asked.address)
    address = str(local.resolve()) if local.exists() else asked.address
    folder = asked.folder.resolve()
    if folder.exists():
        parser.error(f"expected a folder that does not exist yet. Received: {folder}")
    folder.mkdir(parents=True)
    times = folder / "times.txt"
    lines = commands(PAGE.read_text(encoding="utf-8"))
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    program = script(lines, address, times)
    done = subprocess.run(["bash", "-c", program], cwd=folder, env=environment, check=False)
    day = time.strftime("%Y-%m-%d")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, {day}\n\n"
    written = machine + table(lines, times.read_text() if times.exists() else "")
    (folder / "times.md").write_text(written)
    sys.stdout.write("\n" + written)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
