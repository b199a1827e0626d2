"""The ring of numbered rows."""

from __future__ import annotations

import numpy as np

from donkey_rl.agents.ring import Ring


def test_rows_keep_their_numbers_while_the_oldest_give_way() -> None:
    ring = Ring(4, (2,), np.int32)
    assert (len(ring), ring.oldest, ring.written) == (0, 0, 0)
    first = ring.append(np.array([[0, 0], [1, 1], [2, 2]]))
    np.testing.assert_array_equal(first, [0, 1, 2])
    assert (len(ring), ring.oldest) == (3, 0)
    np.testing.assert_array_equal(ring.append(np.array([[3, 3], [4, 4]])), [3, 4])
    # Row 0 gave way to row 4.
    assert (len(ring), ring.oldest, ring.written) == (4, 1, 5)
    np.testing.assert_array_equal(ring.take(np.array([4, 1])), [[4, 4], [1, 1]])
    np.testing.assert_array_equal(ring.since(3)[:, 0], [3, 4])
    np.testing.assert_array_equal(ring.since(0)[:, 0], [1, 2, 3, 4])


def test_of_more_rows_than_fit_the_newest_stay() -> None:
    ring = Ring(3, (), np.int64)
    np.testing.assert_array_equal(ring.append(np.arange(7)), np.arange(7))
    np.testing.assert_array_equal(ring.since(0), [4, 5, 6])


def test_a_restored_ring_goes_on_as_the_old_one() -> None:
    old, new = Ring(5, (), np.int64), Ring(5, (), np.int64)
    old.append(np.arange(13))
    new.restore(old.oldest, old.since(0))
    for ring in (old, new):
        ring.append(np.array([13, 14]))
    assert (new.written, new.oldest) == (old.written, old.oldest)
    np.testing.assert_array_equal(new.rows, old.rows)
    new.clear()
    assert len(new) == 0
