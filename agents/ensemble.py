"""Several drivers that drive as one: an evaluator makes one action of what they propose.

Policies that fail at different places fail less together; `donkey_rl.agents.evaluators` has how.
The folder is a driver folder whose encoder is called ``ensemble``:

```
manifest.json   as any driver's; its hash is that of the members' hashes, weights and evaluator
ensemble.json   folder, weight and hash of each member, and the evaluator
driver.tflite   all members as one LiteRT model, for `donkey_rl.agents.lite_driver`
member_00/ ...  the members' driver folders, without LiteRT models of their own, and without
                critics where the evaluator asks none
```

Nothing in it is a pickle, and each member is checked as any driver is.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl import formatting
from donkey_rl.agents import evaluators, folders, manifest
from donkey_rl.agents.acting import FloatArray
from donkey_rl.agents.driver import Apply, Driver, called
from donkey_rl.agents.evaluators import Evaluator
from donkey_rl.agents.graph_driver import GraphDriver
from donkey_rl.agents.manifest import DriverDescription, Manifest
from donkey_rl.agents.members import check_alike, check_critics
from donkey_rl.configuration import Config
from donkey_rl.errors import DriverError

_BATCH = 128

_FILE_NAME = "ensemble.json"


class _Member(Config):
    """One member in ``ensemble.json``."""

    folder: str = pydantic.Field(pattern="^member_[0-9]{2}$")
    weight: float = pydantic.Field(gt=0, le=1)
    hash: str = pydantic.Field(pattern="^[0-9a-f]{64}$")


class _Members(Config):
    """All of ``ensemble.json``; version 1, which has none of the rest, is of a mean."""

    version: Literal[1, 2] = 1
    members: tuple[_Member, ...] = pydantic.Field(min_length=1, max_length=evaluators.MOST_MEMBERS)
    evaluator: Evaluator = Evaluator()


class Ensemble(GraphDriver):
    """Drivers that see the same and whose actions mean the same, blended in one compiled graph.

    Attributes:
        members: The drivers.
        weights: Share of each in a mean; they add up to 1.
        evaluator: What makes the action of what they propose.
        observation: What all of them see.
        description: Of all: the tracks of each, and its hash, run and weight in the notes.
    """

    def __init__(
        self,
        members: Sequence[Driver],
        weights: Sequence[float] | None = None,
        evaluator: Evaluator | None = None,
    ) -> None:
        """Joins drivers.

        Args:
            members: One driver at least.
            weights: How much each counts, positive, of any sum; alike by default.
            evaluator: What makes the action; their mean by default.

        Raises:
            DriverError: There are none or too many, they do not see the same, their actions do
                not mean the same, a weight is not positive, or they do not fit the evaluator.
        """
        self.evaluator = evaluator if evaluator is not None else Evaluator()
        evaluators.check_weights(len(members), weights, self.evaluator.kind)
        given = [1.0] * len(members) if weights is None else [float(each) for each in weights]
        for other in members[1:]:
            check_alike(members[0], other)
        self.members = tuple(members)
        self.weights = tuple(weight / sum(given) for weight in given)
        _check_evaluator(self.members, self.evaluator)
        self._evaluated = evaluators.model(
            self.evaluator,
            self.weights,
            [member.critic for member in members],
            [member.actor.input_shape[1] for member in members],
        )
        super().__init__(members[0].observation, _described(self.members, self.weights))

    @property
    def shares(self) -> tuple[tuple[float, Driver], ...]:
        """The members with their weights."""
        return tuple(zip(self.weights, self.members, strict=True))

    def graph(self, image: Any, speed: Any, imu: Any, last_actions: Any) -> Any:
        """Returns the actions of several cars, (n, 2), as a part of a TensorFlow graph."""
        seen = [member.seen(image, speed, imu, last_actions) for member in self.members]
        proposals = [member.actor(read) for member, read in zip(self.members, seen, strict=True)]
        return self.joined(proposals, seen, speed / self.observation.scaling.speed)

    def joined(
        self, proposals: Sequence[Any], seen: Sequence[Any], speed: Any, apply: Apply = called
    ) -> Any:
        """Returns the action of several cars that the members' proposals make, (n, 2).

        Args:
            proposals: Actions of each member, (n, 2).
            seen: What each member read, (n, F).
            speed: The scaled speed, (n, 1).
            apply: Applies a Keras model to tensors.
        """
        return apply(self._evaluated, evaluators.inputs(self.evaluator, proposals, seen, speed))

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the members' hashes, weights and evaluator, 64 hexadecimal digits."""
        # Weights that were read back and made to add up to 1 again differ in their last digits.
        parts: list[Any] = [[member.hash, f"{weight:.6f}"] for weight, member in self.shares]
        told: list[Any] = [manifest.ENSEMBLE, parts]
        if self.evaluator != Evaluator():
            told.append(self.evaluator.model_dump(mode="json"))
        if self._has_critics:
            told.append([member.critic_hash for member in self.members])
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @property
    def _has_critics(self) -> bool:
        return self.evaluator.kind == "critic"

    def save(self, folder: str | Path, *, lite: bool = True) -> Manifest:
        """Writes the folder; one already there is replaced in one move.

        Args:
            folder: Where to.
            lite: Whether to make the LiteRT model of all members as well.

        Returns:
            The manifest written.

        Raises:
            StorageError: When the folder cannot be written.
        """
        with folders.replaced(Path(folder)) as draft:
            entries = []
            for number, (weight, member) in enumerate(self.shares):
                name = f"member_{number:02d}"
                member.save(draft / name, lite=False, critic=self._has_critics)
                entries.append(_Member(folder=name, weight=weight, hash=member.hash))
            version: Literal[1, 2] = 1 if self.evaluator == Evaluator() else 2
            listed = _Members(version=version, members=tuple(entries), evaluator=self.evaluator)
            # What is only a mean can be read by versions of this package that know nothing else.
            left_out = {"version", "evaluator"} if version == 1 else None
            text = listed.model_dump_json(indent=2, exclude=left_out)
            (draft / _FILE_NAME).write_text(text + "\n", encoding="utf-8")
            return self._sealed(draft, manifest.ENSEMBLE, lite=lite)

    @classmethod
    def load(cls, folder: str | Path) -> Ensemble:
        """Reads an ensemble's folder and checks that it is what its manifest says.

        Raises:
            DriverError: When a file is missing, changed, of another format, or does not fit.
        """
        folder = Path(folder)
        found = manifest.read(folder)
        try:
            if _FILE_NAME not in found.files:
                raise ValueError(f"a driver with the encoder {found.encoder}")
            listed = _Members.model_validate_json((folder / _FILE_NAME).read_bytes())
        except (OSError, ValueError) as error:
            raise DriverError(
                f"Expected an ensemble with its '{_FILE_NAME}' in '{folder}'. Received: "
                f"{formatting.reason(error)}. Copy the driver again, whole, or use the version "
                "that wrote it."
            ) from error
        members = [Driver.load(folder / each.folder) for each in listed.members]
        made = cls(members, [each.weight for each in listed.members], listed.evaluator)
        if made.hash != found.hash:
            raise DriverError(
                f"Expected the ensemble {found.hash[:12]}. Received: {made.hash[:12]} in "
                f"'{folder}'. Its members belong to different ensembles: copy it again, whole."
            )
        return made


def load(folder: str | Path) -> Driver | Ensemble:
    """Reads a driver folder, be it of one driver or of an ensemble.

    Raises:
        DriverError: As in `Driver.load`.
    """
    single = manifest.read(Path(folder)).encoder != manifest.ENSEMBLE
    return Driver.load(folder) if single else Ensemble.load(folder)


def calibrated(
    members: Sequence[Driver],
    observation: Mapping[str, npt.NDArray[Any]],
    *,
    kind: evaluators.Kind,
    temperature: float,
    slowing: float,
) -> Evaluator:
    """Returns an evaluator that knows what is usual for some members.

    Args:
        members: The drivers.
        observation: Of n cars, from where the members were trained; see `Driver.act`.
        kind: As in `Evaluator`.
        temperature: As in `Evaluator`.
        slowing: As in `Evaluator`.

    Raises:
        DriverError: A part of the observation is missing, or a critic that is asked.
    """
    proposals = [member.act(observation) for member in members]
    found: dict[str, Any] = {"kind": kind, "slowing": slowing}
    if slowing:
        steering = np.stack([proposal[:, 0] for proposal in proposals], axis=1)
        found["threshold"] = evaluators.usual_disagreement(steering.std(axis=1))
    if kind == "critic":
        check_critics(members)
        said = [_values(member, proposals, observation) for member in members]
        found |= {"temperature": temperature, "scales": evaluators.scales(np.stack(said, axis=1))}
    return Evaluator.model_validate(found)


def _values(
    judge: Driver, proposals: Sequence[FloatArray], observation: Mapping[str, npt.NDArray[Any]]
) -> FloatArray:
    """Returns what the critic of a driver says of proposals, (n, K)."""
    parts, _ = judge.observation.parts(observation)
    rows = range(0, len(parts[0]), _BATCH)
    seen = np.concatenate([judge.seen(*(part[k : k + _BATCH] for part in parts)) for k in rows])
    said = [judge.critic(np.concatenate([seen, each], axis=1))[:, 0] for each in proposals]
    return np.stack(said, axis=1)


def _check_evaluator(members: Sequence[Driver], evaluator: Evaluator) -> None:
    """Refuses members that an evaluator can do nothing with.

    Raises:
        DriverError: One has no critic.
    """
    if evaluator.kind != "critic":
        return
    check_critics(members)
    if len(evaluator.scales) != len(members):
        raise DriverError(
            f"The evaluator has a scale for each of the {len(members)} members. Received: "
            f"{len(evaluator.scales)}. Join them with `donkey-rl ensemble`."
        )


def _described(members: Sequence[Driver], weights: Sequence[float]) -> DriverDescription:
    """Returns what the members have in common, and of each what it is."""
    about = [each.description for each in members]
    tracks = dict.fromkeys(track for each in about for track in each.tracks)
    simulators = dict.fromkeys(each.simulator for each in about)
    notes = [
        {"hash": member.hash, "weight": weight, "run_id": member.description.notes.get("run_id")}
        for weight, member in zip(weights, members, strict=True)
    ]
    lowest = max(each.latency_ms[0] for each in about)
    highest = min(each.latency_ms[1] for each in about)
    return about[0].model_copy(
        update={
            "agent": manifest.ENSEMBLE,
            "latency_ms": (lowest, max(lowest, highest)),
            "tracks": tuple(tracks),
            "simulator": ", ".join(simulators),
            "notes": {"members": notes},
        }
    )
