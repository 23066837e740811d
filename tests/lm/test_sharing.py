"""Beginnings that are read once."""

from hypothesis import given
from hypothesis import strategies as st

from trueseed.lm.sharing import SHORTEST, TOKENS, Pass, passes

word = st.sampled_from([(1,) * 9, (2,) * 30, (3, 4), (5,)])
sequence = st.lists(word, max_size=8).map(lambda words: tuple(token for each in words for token in each))
sequences = st.lists(sequence, min_size=1, max_size=30)


def read(each: Pass, kept: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What the rows hold when each wave reads its own tokens after what earlier waves have read."""
    held: dict[int, tuple[int, ...]] = {-1: kept}
    for wave in each.waves:
        held |= {
            at: held[each.rows[at].after][: each.rows[at].start] + each.rows[at].own
            for at in wave
            if each.rows[at].after in held
        }
    for at, row in enumerate(each.rows):
        held.setdefault(at, held[row.after][: row.start])
    return [held[at] for at in range(len(each.rows))]


@given(sequences, sequence)
def test_every_sequence_is_read_whole_and_once(given_: list[tuple[int, ...]], kept: tuple[int, ...]) -> None:
    members: list[int] = []
    for each in passes(given_, kept):
        assert read(each, kept) == [given_[member] for member in each.members] == [row.tokens for row in each.rows]
        members += each.members
        kept = each.rows[-1].tokens
    assert sorted(members) == list(range(len(given_)))


@given(sequences)
def test_what_is_read_is_little_more_than_the_distinct_beginnings(given_: list[tuple[int, ...]]) -> None:
    distinct = {one[:end] for one in given_ for end in range(1, len(one) + 1)}
    own = sum(len(row.own) for each in passes(given_) for row in each.rows)
    assert len(distinct) <= own <= len(distinct) + SHORTEST * len(given_)


def test_choices_after_one_context_wait_for_it_alone() -> None:
    context = tuple(range(100, 200))
    [each] = passes([(*context, choice, 7) for choice in range(4)])
    assert [len(row.own) for row in each.rows] == [102, 2, 2, 2]
    assert list(each.waves) == [[0], [1, 2, 3]]


def test_a_beginning_of_all_is_read_once_though_they_take_many_passes() -> None:
    preamble = tuple(range(1000))
    found = list(passes([(*preamble, *range(at, at + 200)) for at in range(0, 5000, 100)]))
    assert len(found) > 3
    assert sum(len(row.own) for each in found for row in each.rows) == 1000 + 50 * 200


def test_a_pass_is_bounded_but_for_a_single_long_sequence() -> None:
    found = list(passes([tuple(range(at, at + 600)) for at in range(9)] + [tuple(range(5000, 5000 + 2 * TOKENS))]))
    assert [len(each.rows) for each in found] == [3, 3, 3, 1]
