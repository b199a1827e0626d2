"""What a run is started with: enough to start it again, and to say what is no longer the same.

Files of the run in MLflow hold it:

```
config.yaml      the whole configuration, a recipe by itself
beginning.json   versions, the machine, and SHA-256 of what was read beside it
reward.py        the file of a reward of the user's own, where there is one
encoder.py       the same of an encoder
```
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from donkey_rl import configuration, formatting, own_code, user_paths
from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.envs import opponents, simulators
from donkey_rl.envs.simulator import track_names
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import config as configs
from donkey_rl.experiments import process_clock, provenance, stored_runs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.stored_runs import StoredRun

CONFIG_FILE, FACTS_FILE = "config.yaml", "beginning.json"
REWARD_FILE, ENCODER_FILE = "reward.py", "encoder.py"
CODE = {"task.reward": REWARD_FILE, "encoder.code": ENCODER_FILE}
"""Settings that name code of the user's own, `PATH.py:NAME`, and what a run calls its copy."""

PROFILE, OPPONENTS, START = "latency.profile", "opponents.drivers", "start.driver"
PRETRAINED = "encoder.pretrained"
_CHECKED = "check.tracks"
LASTING = (PROFILE, OPPONENTS, START, _CHECKED)
"""What a run depends on to its end."""

_DATA = ("imitation.data", "encoder.data", PRETRAINED, START, PROFILE)
"""Settings that name what is learned from."""

_DRIVERS = (PRETRAINED, START, OPPONENTS)
"""Settings that name drivers."""

COLLECTORS = "collectors"

_LARGEST = 1_000_000
_DIGITS = 64
"""Of a SHA-256."""


class Beginning(Config):
    """What is stored of the beginning of a run.

    Attributes:
        config: Its configuration, nested, with paths that hold from any folder.
        versions: Versions of Python and of packages, and the kind of processor.
        track_file: SHA-256 of a track file of the user's own; None for the package's tracks.
        reward_file: SHA-256 of the file of a reward of the user's own; None for the package's.
        encoder_file: The same of an encoder.
        machine: As `process_clock.machine` says it.
        data: By setting, SHA-256 of what was learned from, see `hashes_of_data`.
    """

    config: dict[str, Any]
    versions: dict[str, str]
    track_file: str | None
    reward_file: str | None = None
    encoder_file: str | None = None
    machine: dict[str, str] = pydantic.Field(default_factory=dict)
    data: dict[str, str] = pydantic.Field(default_factory=dict)

    @property
    def code(self) -> dict[str, str]:
        """By setting, SHA-256 of the files with code of the user's own."""
        found = {key: getattr(self, fact(key)) for key in CODE}
        return {key: digest for key, digest in found.items() if digest is not None}


def of(config: TrainingConfig, collectors: int | None = None) -> Beginning:
    """Returns what a run that starts here with a configuration is started with.

    Args:
        config: The configuration.
        collectors: How many processes drive, None where the cars are driven here.
    """
    return Beginning(
        config=lasting(config).model_dump(mode="json"),
        versions=provenance.versions(),
        track_file=hash_of_track_file(config.track),
        machine=machine(collectors),
        data=hashes_of_data(config),
        **{fact(key): digest for key, digest in hashes_of_code(config).items()},
    )


def machine(collectors: int | None) -> dict[str, str]:
    """Returns what a run is carried out on, and by how many collectors if there are some."""
    extra = {} if collectors is None else {COLLECTORS: str(collectors)}
    return process_clock.machine() | extra


def fact(key: str) -> str:
    """Returns what the SHA-256 of code of the user's own is called.

    >>> fact("task.reward")
    'reward_file'
    """
    return CODE[key].replace(".py", "_file")


def lasting(config: TrainingConfig) -> TrainingConfig:
    """Returns a configuration whose files are found from any folder."""
    # As values: read as a setting, a path with a '#' would end there.
    found = {key: str(user_paths.path_of(value).resolve()) for key, value in _data(config).items()}
    changes: dict[str, Any] = {
        "track": configs.lasting(config.track),
        "simulator": simulators.lasting(config.simulator),
        **found,
    }
    raced = {"check.tracks": config.check.tracks, "evaluation.tracks": config.evaluation.tracks}
    changes |= {key: configs.lasting(names) for key, names in raced.items() if names is not None}
    changes |= {key: configs.lasting_code(name) for key, name in _code(config).items()}
    if _folders(config):
        known = _folders(config)
        changes[OPPONENTS] = [known.get(each, each) for each in config.opponents.drivers]
    if changes.items() <= configs.flat(config.model_dump(mode="json")).items():
        return config
    return configuration.with_values(config, changes)


def _folders(config: TrainingConfig) -> dict[str, str]:
    """Returns the opponents that are driver folders, by how they are named: their whole paths."""
    learned = {
        each: user_paths.path_of(each)
        for each in config.opponents.drivers
        if each != opponents.ITSELF and opponents.parse(each).is_learned
    }
    return {each: str(folder.resolve()) for each, folder in learned.items() if folder.is_dir()}


def _data(config: TrainingConfig) -> dict[str, str]:
    """Returns the paths that are learned from, by setting."""
    flat = configs.flat(config.model_dump(mode="json"))
    named = {key: flat.get(key) for key in _DATA}
    return {
        key: str(user_paths.path_of(str(value)))
        for key, value in named.items()
        if value and user_paths.path_of(str(value)).exists()
    }


def names_more(config: TrainingConfig) -> bool:
    """Whether a run reads other runs, drivers or recordings, or has lessons alone."""
    flat = configs.flat(config.model_dump(mode="json"))
    named = any(flat.get(key) for key in _DATA if key != PROFILE)
    return named or config.opponents.count > 0 or config.steps == 0


def hashes_of_data(config: TrainingConfig) -> dict[str, str]:
    """Returns by setting a SHA-256 of what is learned from.

    What is not there, or is no path, is left out. Of recordings, which are large, it is of the
    names and sizes of files; behind it, of drivers, whose sizes are alike, of what they hold.
    """
    found = {
        key: folders.sha256(pathlib.Path(value)) if key == PROFILE else _listing(key, [value])
        for key, value in _data(config).items()
    }
    if _folders(config):
        found[OPPONENTS] = _listing(OPPONENTS, _folders(config).values())
    roads = hash_of_track_file(config.check.tracks or "")
    if roads is not None:
        found[_CHECKED] = roads
    return found


def is_same(before: str, now: str | None) -> bool:
    """Whether data are those that they were, by what `hashes_of_data` said.

    Earlier versions looked at the names and sizes of drivers alone.
    """
    return now is not None and before in (now, now[:-_DIGITS])


def _listing(key: str, places: Iterable[str]) -> str:
    """Returns a SHA-256 of the names and sizes of files, and of those in folders.

    Args:
        key: The setting; where it names drivers another SHA-256, of what they hold, is behind it.
        places: Files and folders.
    """
    listed, held = [], hashlib.sha256()
    for root in (pathlib.Path(each).resolve() for each in places):
        found = [root] if root.is_file() else root.rglob("*")
        files = sorted(each for each in found if each.is_file())
        listed += [
            f"{each.relative_to(root.parent).as_posix()} {each.stat().st_size}" for each in files
        ]
        for each in files if key in _DRIVERS else ():
            held.update(folders.sha256(each).encode())
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return digest + held.hexdigest() if key in _DRIVERS else digest


def hash_of_track_file(tracks: str) -> str | None:
    """Returns the SHA-256 of a track file of the user's own, None for the package's tracks.

    Args:
        tracks: Names of tracks, with commas; so are the hashes of several files.
    """
    files = [track_names.file_of(name.strip()) for name in tracks.split(",")]
    return ",".join(folders.sha256(user_paths.path_of(file)) for file in files if file) or None


def hashes_of_code(config: TrainingConfig) -> dict[str, str]:
    """Returns by setting the SHA-256 of the files with code of the user's own."""
    return {key: folders.sha256(path) for key, path in _code_files(config).items()}


def _code_files(config: TrainingConfig) -> dict[str, pathlib.Path]:
    return {key: own_code.parse(name, key)[0] for key, name in _code(config).items()}


def _code(config: TrainingConfig) -> dict[str, str]:
    """Returns the references to code of the user's own, by setting."""
    flat = configs.flat(config.model_dump(mode="json"))
    return {key: str(flat[key]) for key in CODE if flat.get(key) is not None}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns what differs, such as `numpy 2.3 then, 2.4 now`; what is new is left out.

    But for collectors: with them a run is another one.
    """
    known = dict(before)
    if COLLECTORS in now:
        known.setdefault(COLLECTORS, "none")
    return [
        f"{name} {value} then, {now.get(name, 'none')} now"
        for name, value in known.items()
        if now.get(name) != value
    ]


def store(begun: Beginning, run: Run) -> None:
    """Writes the files into a run.

    Raises:
        StorageError: They cannot be written.
    """
    config = configuration.validate(TrainingConfig, begun.config)
    facts = begun.model_dump(exclude={"config"})
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name)
        (folder / CONFIG_FILE).write_text(configuration.written(config), encoding="utf-8")
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for key, path in _code_files(config).items():
            shutil.copyfile(path, folder / CODE[key])
        for file in sorted(folder.iterdir()):
            run.log_artifact(file)


def read(stored: StoredRun) -> Beginning:
    """Returns what a run was started with.

    Raises:
        InputError: The run holds no configuration, or one that is damaged.
        StorageError: The store cannot be read.
    """
    try:
        texts = [_text(stored, name) for name in (CONFIG_FILE, FACTS_FILE)]
    except StorageError as error:
        raise InputError(
            f"Run {stored.id} ({stored.name}) holds no {CONFIG_FILE}: it is no training, or was "
            f"started by a version that stored none. Give its settings as a recipe. {error}"
        ) from error
    try:
        facts = json.loads(texts[1])
        config = configuration.parse_recipe(texts[0], f"{CONFIG_FILE} of run {stored.id}")
        return Beginning.model_validate({**facts, "config": config})
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Run {stored.id} cannot be started again: its {CONFIG_FILE} or {FACTS_FILE} is "
            f"damaged, or of another version ({formatting.reason(error)}). Give its settings as a "
            "recipe."
        ) from error


def _text(stored: StoredRun, name: str) -> str:
    """Returns a file of a run, which is bounded: it comes from a store that others write to."""
    path = stored_runs.download(stored, name)
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InputError(f"{name} of run {stored.id} has more than {_LARGEST:,} bytes.")
    return content.decode("utf-8")
