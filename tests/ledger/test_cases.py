"""A case statement that is malformed, or about no open case, breaks a ledger; a tombstone likewise."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.test_withdrawals import entry

from trueseed.errors import Broken
from trueseed.ledger.cases import Cases
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.statement import CASE, CASE_END, DESTRUCTION

SAID: dict[str, Any] = {"said": "x", "documents": [], "at": "2026-01-01T00:00:00Z"}
OPENED: dict[str, Any] = {**SAID, "state": "opened", "about": ["openai"]}


def test_a_case_is_open_from_its_opening_to_its_end():
    told = [entry(3, CASE, **OPENED), entry(4, CASE, **SAID, case=3, state="changes requested")]
    assert list(Cases.read(told).standing) == [3]
    ended = Cases.read([*told, entry(5, CASE_END, **SAID, case=3, state="terminated")])
    assert (ended.standing, ended.all[3].state, len(ended.all[3].statements)) == ({}, "terminated", 3)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (CASE, {**OPENED, "about": []}),
        (CASE, {**OPENED, "about": "openai"}),
        (CASE, {**OPENED, "documents": [{"name": "x"}]}),
        (CASE, {**SAID, "state": "reinstated", "case": 3}),
        (CASE, {**SAID, "state": "investigating", "case": 4}),
        (CASE, {**SAID, "state": "investigating", "case": "3"}),
        (CASE_END, {**SAID, "state": "opened", "case": 3}),
        (CASE_END, {"state": "terminated", "case": 3}),
    ],
)
def test_a_statement_that_is_none_is_broken(kind, said):
    with pytest.raises(Broken, match="entry 9"):
        Cases.read([entry(3, CASE, **OPENED), entry(9, kind, **said)])


def test_nothing_is_said_of_a_case_that_ended():
    end = {**SAID, "state": "terminated", "case": 3}
    with pytest.raises(Broken, match="no case that is open"):
        Cases.read([entry(3, CASE, **OPENED), entry(4, CASE_END, **end), entry(5, CASE_END, **end)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "kind", "digest"]), inner),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*OPENED, "case", "artifacts", "answers", "why"]), JSON), st.booleans())
def test_whatever_a_statement_holds_it_is_read_or_broken(said, with_case):
    said = {**OPENED, **said} if with_case else said
    for kind, reader in ((CASE, Cases.read), (CASE_END, Cases.read), (DESTRUCTION, Destroyed.read)):
        try:
            reader([entry(3, kind, **said)])
        except Broken:
            continue
