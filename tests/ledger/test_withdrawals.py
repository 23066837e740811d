"""A recalled source stays recalled."""

import pytest

from trueseed.errors import Broken
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import WITHDRAWAL
from trueseed.ledger.withdrawals import withdrawn


def test_a_recalled_source_is_found_with_its_statement(river):
    found = withdrawn(river)
    assert list(found) == ["mistral/mistral-large@api"]
    assert found["mistral/mistral-large@api"].predicate["reason"] == "the terms changed"
    assert withdrawn(river.entries()) == found


def test_the_first_withdrawal_counts(ledger):
    for reason in ("first", "second"):
        ledger.append(WITHDRAWAL, [], {"source": "a/b@api", "reason": reason, "at": ""})
    assert withdrawn(ledger)["a/b@api"].predicate["reason"] == "first"


def test_nothing_is_recalled_in_an_empty_ledger(ledger):
    assert withdrawn(ledger) == {}


def test_a_withdrawal_of_nothing_is_broken():
    entry = Entry(index=4, statement={"predicateType": WITHDRAWAL, "predicate": {}}, envelope={}, leaf=b"")
    with pytest.raises(Broken, match="entry 4 names no source"):
        withdrawn([entry])
