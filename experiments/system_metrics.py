"""How busy the machine is while a run goes on, as MLflow's pages show it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

PREFIX = "system/"
"""MLflow's pages show metrics that begin so on a tab of their own."""

_EVERY_S = 10.0
_SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


class SystemMetrics:
    """Logs load of processor, memory, disk and network every ten seconds, by MLflow's monitors.

    ``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false`` switches it off.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], None], started_ms: int) -> None:
        """Starts the thread.

        Args:
            log: Takes values by name and a step.
            started_ms: Start of the run, milliseconds since 1970; steps are seconds since then.
        """
        self._log = log
        self._started_ms = started_ms
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)
        if os.environ.get(_SWITCH, "true").lower() != "false":
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; no value is logged afterwards."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        # The first wait spares short runs the import.
        if self._ended.wait(_EVERY_S):
            return
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        monitors = (CPUMonitor(), DiskMonitor(), NetworkMonitor())
        while True:
            found: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                found |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            step = round(time.time() - self._started_ms / 1000.0)
            self._log({f"{PREFIX}{name}": value for name, value in found.items()}, step)
            if self._ended.wait(_EVERY_S):
                return
