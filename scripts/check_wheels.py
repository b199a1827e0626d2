"""Asks the package index whether all that this project needs is there as a wheel.

    python -m scripts.check_wheels            # a table for docs/platforms.md
    python -m scripts.check_wheels --json

For each system and each version of Python that TensorFlow has wheels for, everything that
donkey-rl depends on, and what that depends on, is resolved from wheels alone. Exit code 1 if a
system is not as `EXPECTED` says. Only metadata is read; the first time takes minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import logging
import sys
from dataclasses import dataclass, field

from scripts import package_index

# By uv's names: the oldest glibc and macOS that are asked for stand in them or are its defaults.
SYSTEMS = {
    "Linux x86_64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "macOS arm64": "aarch64-apple-darwin",
    "macOS x86_64": "x86_64-apple-darwin",
    "Windows amd64": "x86_64-pc-windows-msvc",
}
# What has no wheels, by system; any other gap is an error, and so is one that has closed.
EXPECTED = {"macOS x86_64": frozenset({"ai-edge-litert", "stable-baselines3", "tensorflow"})}
_FIRST, _LAST = 11, 30

LOGGER = logging.getLogger("check_wheels")


@dataclass
class Finding:
    """What there is for one system and one version of Python.

    Attributes:
        system: A key of `SYSTEMS`.
        python: Such as ``3.12``.
        packages: Version by name of all that gets installed; if something is missing, of the
            direct dependencies that are there, each by itself.
        missing: Direct dependencies that cannot be had, by themselves or for what they need.
        without: Extras that cannot be had with everything else.
    """

    system: str
    python: str
    packages: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


def pythons() -> list[str]:
    """Returns the versions of Python that a released TensorFlow has wheels for on Linux."""
    (wanted,) = (
        each
        for each in package_index.project()["dependencies"]
        if package_index.plain(each) == "tensorflow"
    )
    found = []
    for minor in range(_FIRST, _LAST):
        try:
            package_index.resolve(
                [wanted], f"3.{minor}", SYSTEMS["Linux x86_64"], "--no-deps",
                "--prerelease", "disallow",
            )  # fmt: skip
        except package_index.ResolutionError:
            break
        found.append(f"3.{minor}")
    return found


def look(system: str, python: str) -> Finding:
    """Returns what there is for one system and one version of Python."""
    project = package_index.project()
    needed: list[str] = project["dependencies"]
    found = Finding(system, python)
    try:
        found.packages = package_index.resolve(needed, python, SYSTEMS[system])
    except package_index.ResolutionError as error:
        for each in needed:
            look_alone(each, found)
        if not found.missing:
            raise SystemExit(f"{system}, Python {python}: {error}") from None
    found.without = without(needed, project["optional-dependencies"], python, system)
    return found


def without(
    needed: list[str], extras: dict[str, list[str]], python: str, system: str
) -> list[str]:
    """Returns the extras that cannot be had with everything else."""
    together = [each for more in extras.values() for each in more]
    try:
        package_index.resolve([*needed, *together], python, SYSTEMS[system])
    except package_index.ResolutionError:
        if len(extras) == 1:
            return list(extras)
        alone = [without(needed, {name: more}, python, system) for name, more in extras.items()]
        return [name for names in alone for name in names]
    return []


def look_alone(requirement: str, found: Finding) -> None:
    """Adds what there is of one direct dependency, whatever the others need."""
    name = package_index.plain(requirement)
    try:
        alone = package_index.resolve([requirement], found.python, SYSTEMS[found.system])
    except package_index.ResolutionError:
        found.missing.append(name)
    else:
        found.packages[name] = alone[name]


def surprises(findings: list[Finding]) -> list[str]:
    """Returns one line for each way in which a system is not as expected."""
    lines = []
    for each in findings:
        where = f"{each.system}, Python {each.python}"
        expected = EXPECTED.get(each.system, frozenset())
        for name in sorted(set(each.missing) - expected):
            lines.append(f"{where}: there is no wheel for {name}")
        for name in sorted(expected - set(each.missing)):
            lines.append(f"{where}: {name} can be had now; take it out of EXPECTED")
        if not expected:
            lines += [f"{where}: the extra {name} cannot be had" for name in each.without]
    return lines


def cell(findings: list[Finding], name: str) -> str:
    """Returns the version of a package on one system, with its Pythons where they differ."""
    versions: dict[str, list[str]] = {}
    for each in findings:
        versions.setdefault(each.packages.get(name, "none"), []).append(each.python)
    if len(versions) == 1:
        return next(iter(versions))
    return ", ".join(f"{version} ({', '.join(where)})" for version, where in versions.items())


def table(findings: list[Finding]) -> str:
    """Returns the direct dependencies and the extras by system, in Markdown."""
    project = package_index.project()
    by_system: dict[str, list[Finding]] = {}
    for each in findings:
        by_system.setdefault(each.system, []).append(each)
    lines = [f"| | {' | '.join(by_system)} |", "|---" * (len(by_system) + 1) + "|"]
    for name in map(package_index.plain, project["dependencies"]):
        cells = " | ".join(cell(each, name) for each in by_system.values())
        lines.append(f"| {name} | {cells} |")
    for extra in project["optional-dependencies"]:
        there = (all(extra not in one.without for one in each) for each in by_system.values())
        cells = " | ".join("yes" if each else "no" for each in there)
        lines.append(f"| `donkey-rl[{extra}]` | {cells} |")
    counts = []
    for each in by_system.values():
        whole = sorted({len(one.packages) for one in each if not one.missing})
        counts.append(" or ".join(map(str, whole)) or "cannot be installed")
    lines.append(f"| packages in all | {' | '.join(counts)} |")
    return "\n".join(lines)


def main() -> int:
    """Runs the check; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print all packages as JSON")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    findings = []
    versions = pythons()
    for system in SYSTEMS:
        for python in versions:
            LOGGER.info("%s, Python %s", system, python)
            findings.append(look(system, python))
    wrong = surprises(findings)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    if options.json:
        found = [dataclasses.asdict(each) for each in findings]
        told = {"date": today, "pythons": versions, "found": found, "wrong": wrong}
        text = json.dumps(told)
    else:
        text = f"Python {', '.join(versions)}; {today}\n\n{table(findings)}"
    sys.stdout.write(text + "\n")
    for line in wrong:
        LOGGER.error("error: %s", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
