"""The registry of metrics: named functions ``metric(race) -> float``.

Importing `donkey_rl.metrics` registers those of this package. A further one is a decorated
function, registered where it stands or taken from a file of the user's::

    from donkey_rl.metrics.registry import metric


    @metric(unit="u", direction="lower", low=0.0)
    def mean_offset(race):
        '''Mean distance from the path.'''
        return float(abs(race["lateral"]).mean())
"""

from __future__ import annotations

import contextvars
import dataclasses
import inspect
import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from donkey_rl import own_code
from donkey_rl.errors import InputError, UnknownColumnError, UnknownNameError
from donkey_rl.metrics.race import Race

Direction = Literal["higher", "lower"]
Score = Callable[[Race], float]
FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that says how good a race was.

    Attributes:
        name: The name users type and see.
        unit: Its unit, empty for a count or a share.
        direction: Which way is better.
        low: Its least value, -inf where there is none.
        high: Its greatest value, inf where there is none.
        description: One line on what it measures.
        score: The pure function behind it; NaN where it is undefined.
        source: Where it is written: a module of this package, or the path of a user's file.
    """

    name: str
    unit: str
    direction: Direction
    low: float
    high: float
    description: str
    score: Score
    source: str

    def __call__(self, race: Race) -> float:
        """Returns the race's score.

        It is NaN for a race without rows, and where it takes a column that nobody recorded.
        """
        if not len(race):
            return math.nan
        try:
            return self.score(race.known())
        except UnknownColumnError:
            return math.nan

    @property
    def formula(self) -> str:
        """Its formula: the second paragraph of the function's docstring, empty without one."""
        paragraphs = (inspect.getdoc(self.score) or "").split("\n\n")
        text = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
        return "" if text.startswith(">>>") else text.replace("``", "")


@dataclasses.dataclass(frozen=True)
class Failure:
    """A metric that gave no number.

    Attributes:
        metric: Its name.
        source: Where it is written, `Metric.source`.
        races: Indices of the races for which it failed so.
        reason: What happened, with the line of the file where it is known.
    """

    metric: str
    source: str
    races: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        """Returns one line for the user."""
        count = len(self.races)
        races = f"{count} races, first in number" if count > 1 else "race"
        return f"metric '{self.metric}' ({self.source}): {self.reason}; in {races} {self.races[0]}"


@dataclasses.dataclass(frozen=True)
class Table:
    """The scores of several races.

    Attributes:
        values: By name of the metric one score per race, shape (races,), NaN where undefined.
        failures: The metrics that raised or gave something else than a number.
    """

    values: Mapping[str, FloatArray]
    failures: tuple[Failure, ...] = ()

    def __getitem__(self, name: str) -> FloatArray:
        """Returns the scores by one metric, shape (races,)."""
        return self.values[name]


_METRICS: dict[str, Metric] = {}
_TARGET = contextvars.ContextVar("metrics being registered", default=_METRICS)


def metric(
    *, unit: str, direction: Direction, low: float = -math.inf, high: float = math.inf
) -> Callable[[Score], Score]:
    """Registers a function under its own name.

    The first line of its docstring describes it, the second paragraph gives its formula.

    Args:
        unit: Unit of its value, empty for a count or a share.
        direction: ``"higher"`` or ``"lower"`` is better.
        low: Its least value.
        high: Its greatest value.

    Raises:
        InputError: If the name is taken, the direction unknown or the range empty.
    """
    if direction not in ("higher", "lower"):
        raise InputError(
            f"A metric's direction is 'higher' or 'lower'. Received: direction={direction!r}."
        )
    if not low < high:
        raise InputError(
            f"A metric's range goes from `low` up to `high`. Received: low={low}, high={high}."
        )

    def register(score: Score) -> Score:
        name, target = score.__name__, _TARGET.get()
        if name in _METRICS or name in target:
            raise InputError(f"A metric's name must be new. Received: '{name}'. Rename one.")
        description = (inspect.getdoc(score) or "").split("\n")[0]
        target[name] = Metric(
            name, unit, direction, low, high, description, score, score.__module__
        )
        return score

    return register


def names() -> tuple[str, ...]:
    """Returns the names of all registered metrics, in the order of the evaluation table."""
    return tuple(_METRICS)


def load(name: str) -> Metric:
    """Returns a registered metric by name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in _METRICS:
        raise UnknownNameError("metric", name, _METRICS)
    return _METRICS[name]


def from_file(reference: str) -> Metric:
    """Returns a metric from a file of the user's; the registry stays as it is.

    The file is imported: it is the user's own code and runs with the user's rights. Pass
    ``[load(name) for name in names()] + [from_file(reference)]`` to `score_races`.

    Args:
        reference: ``"path.py:name"``.

    Raises:
        InputError: If the file is missing, cannot be imported, or has no such metric.
    """
    path, name = own_code.parse(reference, "metric")
    found: dict[str, Metric] = {}
    token = _TARGET.set(found)
    try:
        module = own_code.run(path)
    finally:
        _TARGET.reset(token)
    if name in found:
        return dataclasses.replace(found[name], source=str(path))
    if hasattr(module, name):
        raise InputError(
            f"{path}: '{name}' is not registered. Put @metric(unit=..., direction=...) of "
            "donkey_rl.metrics.registry before the function."
        )
    raise InputError(f"{path}: {UnknownNameError('metric', name, found)}")


def score(race: Race) -> dict[str, float]:
    """Returns every registered metric of one race by name."""
    return {name: each(race) for name, each in _METRICS.items()}


def of_different_names(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Returns metrics as they are.

    Raises:
        InputError: Two have one name.
    """
    found = tuple(metrics)
    for name, count in Counter(each.name for each in found).items():
        if count > 1:
            raise InputError(
                f"Metrics must have different names. Received: '{name}' twice. Rename one."
            )
    return found


def score_races(races: Sequence[Race], metrics: Iterable[Metric] | None = None) -> Table:
    """Scores several races; a metric that fails is reported and does not stop the others.

    Args:
        races: What was driven.
        metrics: By which metrics, each with its own name. Defaults to all that are registered.

    Raises:
        InputError: If two metrics have one name.
    """
    values: dict[str, FloatArray] = {}
    failures: list[Failure] = []
    for each in _METRICS.values() if metrics is None else of_different_names(metrics):
        results = [_attempt(each, race) for race in races]
        values[each.name] = np.array([value for value, _ in results], np.float64)
        failed: dict[str, list[int]] = {}
        for k, (_, reason) in enumerate(results):
            if reason:
                failed.setdefault(reason, []).append(k)
        failures += [Failure(each.name, each.source, tuple(k), why) for why, k in failed.items()]
    return Table(values, tuple(failures))


def _attempt(each: Metric, race: Race) -> tuple[float, str]:
    """Returns a score and an empty reason, or NaN and why there is none."""
    try:
        value: object = each(race)
        number = float(value) if isinstance(value, numbers.Real | np.bool_) else None
    except (Exception, SystemExit) as error:
        return math.nan, own_code.describe(error, each.source)
    if number is None:
        return math.nan, f"gave no number but {type(value).__name__}"
    if math.isinf(number):
        return math.nan, f"gave {number}"
    # The metrics of this package are NaN where their documentation says so.
    if math.isnan(number) and not _is_ours(each.source):
        return math.nan, "gave NaN"
    return number, ""


def _is_ours(source: str) -> bool:
    """Whether a metric is written in a module of this package; a user's file may be called so."""
    return source.startswith("donkey_rl.") and not source.endswith(".py")
