"""What we tell a maker that we used: all of it or said to be partial, signed, and checked by anyone offline."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.teachers.account.test_allowance import ask
from tests.teachers.conftest import Machine

from trueseed.access.keys import Grant, Keys
from trueseed.core.canonical import canonical
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Signer, decode, encode
from trueseed.ledger.statement import USAGE, envelope, statement
from trueseed.report import verify_usage
from trueseed.teachers.account.allowance import Allowance, Amount
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.supplier.bill import Bill, Figure
from trueseed.teachers.supplier.bill_models import Scope
from trueseed.teachers.supplier.books import Span
from trueseed.teachers.supplier.month import Month
from trueseed.teachers.supplier.reconcile import Asked, reconcile
from trueseed.teachers.supplier.usage import Wanted, report
from trueseed.teachers.supplier.usage_report import SIGNER, sign
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

GPT, AZURE, LARGE = "openai/gpt-4@api", "openai/gpt-4@azure", "mistral/mistral-large@api"
CALL = Amount(1, 100, 250)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OURS, THEIRS = (Signer.from_seed("operator", bytes([n]) * 32) for n in (1, 2))


def filled(folder) -> Account:
    """Calls of two days to two routes of one maker, for two uses by two projects, and one to another maker."""
    account, machine = Account.open(f"sqlite:///{folder / 'account.db'}"), Machine()
    allowance = Allowance(account, (), "us", machine.clock())
    for source, use in ((GPT, Use.JUDGE), (AZURE, Use.JUDGE), (AZURE, Use.REWARD), (LARGE, Use.JUDGE)):
        allowance.settle(ask(allowance, source=source, use=use), CALL, "answered")
    machine.go(86_400)
    allowance.settle(ask(allowance, project="other"), Amount(1, 0, 0), "failed")
    allowance.cached(source=GPT, use=Use.JUDGE, project="other", request="0" * 64)
    ask(allowance, project="other")
    return account


@pytest.fixture
def account(tmp_path) -> Account:
    return filled(tmp_path)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    return sign(made(filled(tmp_path_factory.mktemp("signed"))), OURS)


def made(account, **more):
    wanted = Wanted(**{"maker": "openai", "month": Month.parse("2026-11"), **more})
    return report(wanted, account=account, entity="us", now=NOW)


def written(tmp_path, signed):
    path = tmp_path / "report.json"
    path.write_bytes(canonical(signed))
    return path


def key(signer):
    return str(signer.key(SIGNER))


def checked(path, *keys):
    return verify_usage.path(path, keys=keys)


def test_a_report_is_over_all_routes_uses_and_projects_of_the_maker_and_no_other(account):
    found = made(account)
    assert list(found.sources) == [GPT, AZURE]
    assert list(found.days) == ["2026-11-21", "2026-11-22"]
    assert [(each.use, each.project) for each in found.purposes] == [
        ("judge", "other"),
        ("judge", "seed"),
        ("reward", "seed"),
    ]
    calls = found.totals.calls
    assert (calls.answered, calls.failed, calls.cached, calls.in_flight, calls.unknown) == (
        3,
        1,
        1,
        0,
        1,
    )  # an hour later nobody waits
    assert found.totals.charged.model_dump() == {"requests": 5, "tokens": 400, "micros": 1000}
    assert (found.is_partial, found.left_out) == (False, None)
    assert (found.is_over, found.counted_until) == (False, "2026-11-24T12:00:00Z")


@pytest.mark.parametrize(
    ("narrow", "left", "routes"),
    [
        ({"source": "*@azure"}, 4, ("api",)),
        ({"project": "other"}, 3, ("api", "azure")),
        ({"use": Use.REWARD}, 5, ("api", "azure")),
    ],
)
def test_a_narrowed_report_says_so_in_the_signed_bytes_and_what_it_leaves_out(account, tmp_path, narrow, left, routes):
    found = made(account, **narrow)
    whole = made(account)
    assert found.is_partial
    assert found.left_out.routes == routes
    assert sum(found.left_out.sums.calls.model_dump().values()) == left
    for name in ("requests", "tokens", "micros"):
        inside, outside = getattr(found.totals.charged, name), getattr(found.left_out.sums.charged, name)
        assert inside + outside == getattr(whole.totals.charged, name)
    result = checked(written(tmp_path, sign(found, OURS)), key(OURS))
    assert not result.broken
    assert any("PARTIAL" in note for note in result.to_json()["notes"])


def test_holds_releases_and_reconciliations_of_the_month_stand_in_it(account, tmp_path):
    holds = Holds(account, "us")
    holds.place("openai", "suspended", "ab" * 32)
    holds.lift("openai", "cd" * 32, Signer.from_seed("reviewer", b"3" * 32))
    span = Span(datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC))
    bill = Bill(kind="a bill", digest="ef" * 32, figures=(Figure(span=span, model="gpt-4", calls=1, tokens=100),))
    asked = Asked(scope=Scope(maker="openai", pattern="*@api"), month=Month.parse("2026-11"))
    ledger = Workspace.open(tmp_path / "work", create=True).ledger
    reconcile(bill, asked, account=account, entity="us", ledgers=[ledger], now=NOW)
    found = made(account)
    [done] = found.reconciliations
    assert (done.sha256, done.verdict, done.ledger, done.entry) == ("ef" * 32, "agrees", ledger.origin, 0)
    [hold] = this_month(account).holds
    assert (hold.reason, hold.evidence, hold.released_for) == ("suspended", "ab" * 32, "cd" * 32)
    assert hold.released_at is not None


def test_the_gateways_keys_are_counted_and_their_owners_named_only_when_wanted(tmp_path):
    account, judge = Account.open(f"sqlite:///{tmp_path / 'account.db'}"), frozenset({Use.JUDGE})
    allowance = Allowance(account, (), "us")
    for use in (Use.JUDGE, Use.REWARD):
        allowance.settle(ask(allowance, use=use), CALL, "answered")
    Keys(account).issue(Grant(owner="bo", project="seed", uses=judge))
    issued = Keys(account).issue(Grant(owner="ana", project="seed", uses=judge))
    Keys(account).issue(Grant(owner="cy", project="other", uses=judge))
    counted, named = (this_month(account, owners=owners) for owners in (False, True))
    assert [(each.use, each.keys, each.owners) for each in counted.purposes] == [
        ("judge", 2, None),
        ("reward", 0, None),
    ]
    assert [each.owner for each in named.purposes[0].owners] == ["ana", "bo"]
    assert issued.token not in json.dumps(named.to_json())


def this_month(account, **more):
    now = datetime.now(UTC)
    wanted = Wanted(**{"maker": "openai", "month": Month.parse(f"{now:%Y-%m}"), **more})
    return report(wanted, account=account, entity="us", now=now)


def test_a_report_of_nothing_adds_up(account, tmp_path):
    found = made(account, maker="anthropic")
    assert found.lines == ()
    assert not checked(written(tmp_path, sign(found, OURS)), key(OURS)).broken


def test_a_month_to_come_or_a_maker_that_is_none_is_the_users_mistake(account):
    for wrong in ({"month": Month.parse("2026-12")}, {"maker": "openai/gpt-4"}, {"maker": ""}):
        with pytest.raises(ConfigError):
            made(account, **wrong)
    for text in ("2026-13", "2026-1", "November", "2026-11-01", "１９９９-01"):
        with pytest.raises(ConfigError, match="2026-11"):
            Month.parse(text)


def test_a_month_ends_where_the_next_begins():
    for text, days in (("2026-02", 28), ("2028-02", 29), ("2026-12", 31)):
        month = Month.parse(text)
        assert len(month.days) == days
        assert month.until == month.since + timedelta(days=days)


# -- attacks


def forged(signed, change):
    """The report with a change, under the old signature."""
    made = json.loads(decode(signed["payload"]))
    change(made["predicate"])
    return {**signed, "payload": encode(canonical(made))}


def resigned(signed, change, signer):
    """The report with a change, by whoever holds `signer`."""
    predicate = json.loads(decode(signed["payload"]))["predicate"]
    change(predicate)
    return envelope(statement(USAGE, [], predicate), signer)


def fewer(predicate):
    predicate["totals"]["charged"]["tokens"] -= 1


def test_a_report_is_checked_with_the_key_given_the_users_own_or_its_own_word(signed, tmp_path):
    path = written(tmp_path, signed)
    given = checked(path, key(OURS))
    assert not given.broken
    assert not any("--key" in note for note in given.to_json()["notes"])
    (tmp_path / "keys").write_text(f"trueseed.dev/ledger@v1\n{key(OURS)}\n\n— a note\n")
    assert not checked(path, str(tmp_path / "keys")).broken
    unsure = checked(path)
    assert not unsure.broken
    assert any("--key" in note for note in unsure.to_json()["notes"])


@pytest.mark.parametrize(
    "attack",
    [
        lambda signed: forged(signed, fewer),
        lambda signed: sign_again(signed),
        lambda signed: {**signed, "signatures": [{**signed["signatures"][0], "sig": encode(b"0" * 64)}]},
        lambda signed: {**signed, "signatures": signed["signatures"] * 2},
        lambda signed: {**signed, "note": "trust me"},
        lambda signed: resigned(signed, lambda predicate: predicate.pop("left_out"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(extra=1), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(unknown=-1), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(entity=7), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(month="2026-10"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(month="never"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(maker="mistral"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(signed_by=key(THEIRS)), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.pop("signed_by"), OURS),
        lambda signed: resigned(signed, fewer, OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["lines"].pop(), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["lines"].append(predicate["lines"][0]), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["sources"].pop(GPT), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["days"].pop("2026-11-21"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["purposes"].pop(), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(unknown=3), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["lines"][0].update(day="2026-12-01"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate["lines"][0].update(source="nonsense"), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(narrowed={"source": None}), OURS),
        lambda signed: resigned(signed, lambda predicate: predicate.update(counted_until="2027-01-01T00:00:00Z"), OURS),
    ],
)
def test_a_forged_edited_or_swapped_report_is_broken_and_shows_no_figures(signed, tmp_path, attack):
    result = checked(written(tmp_path, attack(signed)), key(OURS))
    assert result.broken
    assert result.to_json()["report"] is None
    assert result.lines()[0].startswith("BROKEN")
    assert Broken.exit_code == 4


def sign_again(signed):
    """Another's key, who also puts it in as the one that signs."""
    return resigned(signed, lambda predicate: predicate.update(signed_by=key(THEIRS)), THEIRS)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"not json", b"\xff\xfe", b"[" * 50_000, b'{"payload": 7}', b'{"payload": "bm8="}'],
)
def test_what_is_no_report_is_the_users_mistake(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a usage report"):
        checked(path, key(OURS))


def test_only_an_operators_key_signs_or_checks(account, tmp_path):
    reviewer = Signer.from_seed("reviewer", b"4" * 32)
    with pytest.raises(ConfigError, match="operator"):
        sign(made(account), reviewer)
    with pytest.raises(ConfigError, match="operator"):
        checked(written(tmp_path, sign(made(account), OURS)), str(reviewer.key(SIGNER)))
