"""The view that MLflow's pages open with: the runs of this package beside charts of their laps.

MLflow's pages keep a view that is shared as a tag of the experiment, JSON under a key of
``mlflow.sharedViewState.KEY``, and open it by ``?viewStateShareKey=KEY``. The form of the JSON is
that of MLflow 3's own pages; a version that does not know it shows its usual charts.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from donkey_rl.experiments import mlflow_store

_TAG = "mlflow.sharedViewState."
_SECTION = "laps"
_BARS = ("result/best_lap_s", "result/first_clean_lap_wall_s")
_LINES = (
    "check/best_lap_s",
    "check/mean_lap_s",
    "check/race_score",
    "check/clean_share",
    "rollout/ep_rew_mean",
)
_COLUMNS = (
    "params.`agent`",
    "params.`track`",
    "params.`vehicle`",
    "metrics.`result/best_lap_s`",
    "metrics.`check/race_score`",
)
_FOLDED = ("check", "result", "rollout", "time", "time_split", "train", "system")
"""Groups of metrics whose charts, which MLflow makes by itself, are folded up at first."""

_MOST_BARS = 20


def address(base: str, uri: str | None = None) -> str:
    """Returns the address of the view, which is written into the experiment where it is missing.

    Args:
        base: Address of the pages, such as ``http://127.0.0.1:5000``.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: The store cannot be written.
    """
    client = mlflow_store.client(uri)
    experiment_id = mlflow_store.experiment_id(client, uri)
    text = json.dumps(_view(), separators=(",", ":"))
    # By its content, so that another version of this package writes its own.
    key = f"donkey-rl-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with mlflow_store.guard("The view of the runs could not be saved"):
        if f"{_TAG}{key}" not in client.get_experiment(experiment_id).tags:
            client.set_experiment_tag(experiment_id, f"{_TAG}{key}", text)
    query = f"viewStateShareKey={key}&compareRunsMode=CHART"
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def _view() -> dict[str, Any]:
    bars = [_chart("BAR", metric) for metric in _BARS]
    lines = [
        _chart("LINE", metric)
        | {
            "selectedMetricKeys": [metric],
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
        for metric in _LINES
    ]
    sections = [{"uuid": _SECTION, "name": "Laps", "display": True, "isReordered": True}]
    sections += [
        {"uuid": f"of-{name}", "name": name, "display": False, "isReordered": False}
        for name in _FOLDED
    ]
    return {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(_COLUMNS),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": bars + lines,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def _chart(kind: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": f"{kind.lower()}-{metric}",
        "type": kind,
        "runsCountToCompare": _MOST_BARS,
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": False,
        "metricKey": metric,
    }
