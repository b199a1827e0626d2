"""Does the steps of a Dockerfile without Docker, in a folder that becomes the root of a system.

COPY and RUN as they stand there, then a command as the user of USER, with the whole tree read-only
but for VOLUME. What stands in for the base image is this machine: its /usr and the Python that
runs this. It needs Linux and its namespaces (`unshare`), as root or where users may have them.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from scripts.checks import ROOT, CheckError

_BASE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt")
_BUILD_TIME = re.compile("PIP_|SSL_|(?:https?|no)_proxy$", re.IGNORECASE)

LOGGER = logging.getLogger("image_steps")


@dataclass
class Image:
    """What the steps have made so far.

    Attributes:
        folder: Root of its file system.
        ignored: Lines of its .dockerignore.
        arguments: Values of ARG.
        environment: Of ENV.
        user: Of USER.
        folder_of_work: Of WORKDIR.
        volumes: Of VOLUME.
        entry: Of ENTRYPOINT.
        command: Of CMD.
        carried: Top-level folders that came from the stage before.
    """

    folder: pathlib.Path
    ignored: list[str]
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder_of_work: str = "/"
    volumes: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    carried: set[str] = field(default_factory=set)

    def place(self, inside: str) -> pathlib.Path:
        """Returns where a path of the image lies on this machine."""
        return self.folder / inside.lstrip("/")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yields the instructions of a Dockerfile and what follows each."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def build(image: Image, text: str) -> None:
    """Does all steps up to CMD.

    Raises:
        CheckError: A step failed, or is none that this script knows.
    """
    for name, rest in instructions(text):
        LOGGER.info("%s %s", name, rest)
        for key, value in image.arguments.items():
            rest = rest.replace(f"${{{key}}}", value)
        if name == "FROM":
            image.carried, image.environment = set(), {}
        elif name == "ARG":
            key, _, value = rest.partition("=")
            image.arguments.setdefault(key, value)
        elif name == "COPY":
            copy(image, rest)
        elif name == "RUN":
            inside = in_image(image, ["sh", "-c", rest], build=True)
            if subprocess.run(inside, check=False).returncode:
                raise CheckError(f"RUN {rest} failed")
        elif name == "ENV":
            image.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
        elif name == "USER":
            image.user = rest
        elif name == "WORKDIR":
            image.folder_of_work = rest
        elif name == "VOLUME":
            image.volumes += rest.split()
        elif name == "ENTRYPOINT":
            image.entry = json.loads(rest)
        elif name == "CMD":
            image.command = json.loads(rest)
        elif name != "EXPOSE":
            raise CheckError(f"{name} is no step that this script knows")


def is_sent(source: str, ignored: list[str]) -> bool:
    """Whether a path at the top of the project is sent to the build: the last line that fits.

    >>> is_sent("setup.py", ["*", "!setup.py"]), is_sent(".git", ["*", "!setup.py"])
    (True, False)
    """
    sent = True
    for line in ignored:
        if fnmatch.fnmatch(source.partition("/")[0], line.removeprefix("!").rstrip("/")):
            sent = line.startswith("!")
    return sent


def copy(image: Image, rest: str) -> None:
    """Does one COPY, from the project or from the stage before."""
    words = rest.split()
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    if "from" in options:
        if sources != [target]:
            raise CheckError("between stages this script copies nothing to another place")
        # One folder serves both stages: what is not carried over goes.
        image.carried.add(target.strip("/").split("/")[0])
        for path in image.folder.iterdir():
            if path.name not in image.carried and path.name not in _BASE:
                shutil.rmtree(path)
        return
    for source in sources:
        found, place = ROOT / source, image.place(target)
        if not is_sent(source, image.ignored):
            raise CheckError(f"COPY {source}: .dockerignore keeps it from the build")
        if target.endswith("/"):
            place = place / found.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            everywhere = [each[3:] for each in image.ignored if each.startswith("**/")]
            ignored = shutil.ignore_patterns(*everywhere)
            shutil.copytree(found, place, symlinks=True, ignore=ignored)
        else:
            shutil.copy(found, place)
        if "chown" in options and os.geteuid() == 0:
            owner, group = map(int, options["chown"].split(":"))
            for path in (place, *place.rglob("*")):
                os.chown(path, owner, group, follow_symlinks=False)


def in_image(
    image: Image, command: list[str], *, build: bool, volumes: pathlib.Path | None = None
) -> list[str]:
    """Returns the words that run a command inside an image.

    Args:
        image: The image.
        command: What to run in it.
        build: As root, on a tree that can be written, with what pip is configured by here; else
            as its user, and read-only.
        volumes: Folder on this machine that stands for its volumes.
    """
    root, python = image.folder, pathlib.Path(sys.base_prefix)
    script = ["set -e", f"mount --bind {root} {root}"]
    for name in _BASE:
        host, place = pathlib.Path("/", name), root / name
        if host.is_symlink():
            script.append(f"ln -sfn {os.readlink(host)} {place}")
        elif host.is_dir():
            script += [f"mkdir -p {place}", f"mount --bind /{name} {place}"]
            script.append(f"mount -o remount,bind,ro {place}")
    for path in ("/dev", "/proc", str(python)):
        if not (path.startswith("/usr/") or path == "/usr"):
            script += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
    environment = dict(image.environment)
    if build:
        environment["PATH"] = f"{python}/bin:/usr/bin:/bin"
        environment["HOME"] = "/build"
        environment |= {k: v for k, v in os.environ.items() if _BUILD_TIME.match(k)}
    else:
        script.append(f"mount -o remount,bind,ro {root}")
        for inside in image.volumes:
            script.append(f"mount --bind {volumes} {image.place(inside)}")
    words = [f"{key}={value}" for key, value in environment.items()]
    user = "0:0" if build or os.geteuid() else image.user
    inner = f'cd {image.folder_of_work} && exec "$@"'
    script.append(
        f"exec chroot --userspec={user} {root} /usr/bin/env -i {shlex.join(words)} "
        f"/bin/sh -c {shlex.quote(inner)} sh {shlex.join(command)}"
    )
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *as_root, "sh", "-c", "\n".join(script)]
