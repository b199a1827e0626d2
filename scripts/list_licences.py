"""Lists the licences of all that this project installs, as their packages state them.

    python -m scripts.list_licences            # the table of docs/licences.md
    python -m scripts.list_licences --json

It reads what is installed beside the Python that runs it, and says what of the extras is not
there: for a whole list install `donkey-rl` with all of them. Exit code 1 if a package states no
licence and `STATED` does not say which one it has, or if a licence asks for more than to be named
and `NOTES` says nothing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import re
import sys
from dataclasses import asdict, dataclass

from packaging.requirements import Requirement

from scripts.package_index import plain, project

# Read in the packages' own files, where the metadata says nothing or too much.
STATED = {"huey": "MIT", "namex": "Apache-2.0", "skops": "MIT"}
# What a licence of another kind means for those who install donkey-rl or hand it on.
_LIBRARY = "imported as it is; who hands it on offers its source and lets it be replaced"
_FILES = "changes to its own files stay under its licence"
NOTES = {
    "casadi": _LIBRARY,
    "certifi": _FILES,
    "docutils": "GPL is one file for Emacs, which is not installed; for the documentation alone",
    "hypothesis": f"{_FILES}; for tests alone",
    "imageio-ffmpeg": "its wheels hold the program ffmpeg with x264, GPL 3 or later: started, not "
    "linked, so donkey-rl stays MIT; who hands on an image with it offers the source of ffmpeg",
    "paramiko": _LIBRARY,
    "pathspec": f"{_FILES}; for development alone",
    "psycopg": _LIBRARY,
    "psycopg-binary": f"{_LIBRARY}; it holds libpq and OpenSSL",
    "tqdm": _FILES,
}
# What PyTorch for GPUs brings along, which Linux gets from the index; nothing here uses them.
_FOR_GPUS = re.compile("(nvidia|cuda)-")
_NVIDIA = "NVIDIA's terms; not needed, a torch for CPUs comes without it (`TORCH`)"
_NOT_PERMISSIVE = re.compile(r"GPL|MPL|Mozilla|EPL|EUPL|CDDL|CC-BY-SA|Proprietary", re.IGNORECASE)
_CLASSIFIER = "License :: OSI Approved :: "
_LONGEST = 60

LOGGER = logging.getLogger("list_licences")


@dataclass(frozen=True)
class Entry:
    """A package that gets installed.

    Attributes:
        name: As the index writes it.
        version: That is installed here.
        licence: What it states.
        wanted_by: ``donkey-rl``, or the extras that bring it.
    """

    name: str
    version: str
    licence: str
    wanted_by: str


def licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Returns the licence that a package states, empty if it states none."""
    fields = metadata.json
    if expression := fields.get("license_expression"):
        return str(expression)
    found = [
        str(each).removeprefix(_CLASSIFIER).removesuffix(" License")
        for each in fields.get("classifier", [])
        if str(each).startswith(_CLASSIFIER)
    ]
    if found:
        return ", ".join(sorted(found))
    text = str(fields.get("license", "")).strip()
    # Some put the whole text there.
    return text if len(text) <= _LONGEST and "\n" not in text else ""


def reached(requirements: list[str]) -> set[str]:
    """Returns the installed packages that some requirements lead to, on this system."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (plain(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            LOGGER.warning("%s is not installed, and not listed", wanted.name)
            continue
        found.add(key[0])
        for text in distribution.requires or []:
            need = Requirement(text)
            extras = ("", *wanted.extras)
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(need)
    return found


def entries() -> list[Entry]:
    """Returns all packages by name, with who brings them: the core before any extra."""
    table = project()
    core = reached(table["dependencies"])
    extras = {name: reached(more) for name, more in table["optional-dependencies"].items()}
    found = []
    for name in sorted(core.union(*extras.values())):
        distribution = importlib.metadata.distribution(name)
        by = [extra for extra, names in extras.items() if name in names]
        found.append(
            Entry(
                name=name,
                version=distribution.version,
                licence=STATED.get(name) or licence(distribution.metadata),
                wanted_by="donkey-rl" if name in core else ", ".join(by),
            )
        )
    return found


def is_permissive(entry: Entry) -> bool:
    """Whether nothing is asked of those who hand the package on but to name it.

    >>> is_permissive(Entry("a", "1", "MIT", "")), is_permissive(Entry("b", "1", "LGPLv3", ""))
    (True, False)
    """
    return not _NOT_PERMISSIVE.search(entry.licence)


def page(found: list[Entry]) -> str:
    """Returns the tables in Markdown."""
    lines = ["| package | licence | wanted by | what it means |", "|---|---|---|---|"]
    for each in found:
        if each.name in NOTES or not is_permissive(each):
            note = NOTES.get(each.name, _NVIDIA if _FOR_GPUS.match(each.name) else "")
            lines.append(f"| {each.name} | {each.licence} | {each.wanted_by} | {note} |")
    lines += ["", "| package | version | licence | wanted by |", "|---|---|---|---|"]
    for each in found:
        lines.append(f"| {each.name} | {each.version} | {each.licence} | {each.wanted_by} |")
    return "\n".join(lines)


def complaints(found: list[Entry]) -> list[str]:
    """Returns one line for each licence that is not known, or not explained."""
    found = [each for each in found if not _FOR_GPUS.match(each.name)]
    wrong = [f"{each.name} states no licence" for each in found if not each.licence]
    unexplained = (e for e in found if not is_permissive(e) and e.name not in NOTES)
    return wrong + [f"{e.name}: {e.licence}; say in NOTES what that means" for e in unexplained]


def main() -> int:
    """Prints the list; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = entries()
    wrong = complaints(found)
    told = json.dumps({"packages": [asdict(each) for each in found]})
    sys.stdout.write((told if options.json else page(found)) + "\n")
    for line in wrong:
        LOGGER.error("error: %s", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
