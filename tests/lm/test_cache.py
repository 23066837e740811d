"""Rows of keys and values that share what they have in common hold what rows that share nothing would hold."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.lm.cache import PAGE, Cache, Form, Grid, Kept, Pages

FORM = Form(layers=2, heads=1, width=2, dtype=torch.float32, device=torch.device("cpu"))
ROWS = 3
ROW, LENGTH = st.integers(0, ROWS - 1), st.integers(0, 2 * PAGE + 3)
DOING = st.one_of(
    st.tuples(st.just("read"), ROW, LENGTH),
    st.tuples(st.just("copy"), ROW, ROW, LENGTH),
    st.tuples(st.just("keep"), ROW),
    st.tuples(st.just("restore"), ROW, LENGTH),
    st.tuples(st.just("end"), ROW, ROW),
)


@torch.inference_mode()
def written(cache: Cache, row: int, values: list[float]) -> None:
    """Values are appended to a row, as a network does: into places that are not written yet."""
    start = cache.lengths[row]
    cache.lengths[row] += len(values)
    cache.reserve()
    for position, value in enumerate(values, start=start):
        if isinstance(cache, Pages):
            cache._pages[row][position // PAGE][:, :, :, position % PAGE] = value
        else:
            assert isinstance(cache, Grid)
            for layer in range(FORM.layers):
                cache.layer(layer)[:, row, :, position] = value


def held(kept: Kept) -> list[float]:
    if not kept.pieces:
        return []
    whole = torch.cat(kept.pieces, 3)[:, :, :, : kept.length]
    assert (whole == whole[:1, :1, :, :, :1]).all(), "all layers, keys and values were written alike"
    return whole[0, 0, 0, :, 0].tolist()


@pytest.mark.parametrize("kind", [Pages, Grid])
@settings(max_examples=60, deadline=None)
@given(doings=st.lists(DOING, max_size=12))
def test_rows_hold_what_was_written_to_them_whatever_others_do(kind: type[Cache], doings: list[tuple]) -> None:
    cache, rows, said = kind(FORM, ROWS), [[] for _ in range(ROWS)], 0
    kept, known = cache.keep(0), []
    for what, row, *more in doings:
        if what == "read":
            new = [float(said + at) for at in range(more[0])]
            said += len(new)
            written(cache, row, new)
            rows[row] = rows[row] + new
        elif what == "copy" and row != more[0]:
            length = min(more[1], len(rows[row]))
            cache.copy(row, more[0], length)
            rows[more[0]] = rows[row][:length]
        elif what == "keep":
            kept, known = cache.keep(row), rows[row]
        elif what == "restore":
            cache.restore(row, kept, min(more[0], len(known)))
            rows[row] = known[: more[0]]
        elif what == "end":
            cache.end(row, more[0])
            rows[row], rows[more[0]] = (rows[more[0]] if row != more[0] else []), []
        assert [held(cache.keep(each)) for each in range(ROWS)] == rows
        assert cache.lengths == [len(each) for each in rows]
    assert held(kept) == known


def test_full_pages_are_shared_and_go_with_the_last_who_holds_them() -> None:
    cache = Pages(FORM, 2)
    written(cache, 0, [1.0] * (PAGE + 1))
    cache.copy(0, 1)
    assert cache.table[0, 0] == cache.table[1, 0]
    assert cache.table[0, 1] != cache.table[1, 1]
    cache.end(0, 0)
    assert held(cache.keep(1)) == [1.0] * (PAGE + 1)


def test_a_row_that_ended_holds_no_memory() -> None:
    cache = Pages(FORM, 2)
    written(cache, 1, [1.0] * 3 * PAGE)
    cache.end(1, 1)
    assert cache._pages == [[], []]


def test_a_grid_is_as_long_as_the_longest_row_and_zero_where_nothing_was_written() -> None:
    cache = Grid(FORM, 2)
    written(cache, 0, [1.0] * 65)
    assert cache.capacity == 128
    assert not cache.layer(0)[:, 0, :, 65:].any()
    assert not cache.layer(1)[:, 1].any()
