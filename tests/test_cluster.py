"""Work on a Ray cluster of two nodes on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments.cluster import connection
from donkey_rl.experiments.progress import ProgressDisplay
from tests.ray_cluster import TwoNodes, two_nodes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    with two_nodes() as started:
        yield started


def test_a_client_with_the_token_sees_both_nodes(cluster: TwoNodes) -> None:
    with ProgressDisplay() as progress, connection.connected(cluster.address, progress) as nodes:
        assert [node.cpus for node in nodes] == [1.0, 1.0]
        assert connection.is_this_machine(nodes)
    import ray

    assert not ray.is_initialized()


def test_a_client_with_another_token_is_refused(
    cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "not-the-token-" + "0" * 32)
    with (
        pytest.raises(InputError, match="asks for another token") as refused,
        ProgressDisplay() as progress,
        connection.connected(cluster.address, progress),
    ):
        pass
    assert "not-the-token" not in str(refused.value)
