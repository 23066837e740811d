"""Whatever bytes a reader is given: what was written, or a sentence and exit code 2 or 4; never a traceback.

A short run here; `make fuzz` runs as many as `FUZZ` says.
"""

import base64
import copy
import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.canonical import canonical, sha256
from trueseed.errors import Broken, ConfigError, TrueSeedError
from trueseed.ledger.cases import Cases
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.cosignature import cosigned
from trueseed.ledger.destroyed import Destroyed
from trueseed.ledger.holds import held
from trueseed.ledger.identity import Identity
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.packed import pack, unpacked
from trueseed.ledger.proof import check_consistency, check_inclusion
from trueseed.ledger.quotas import written
from trueseed.ledger.reading import Reading
from trueseed.ledger.retention import Retention
from trueseed.ledger.signing import Key, Signer
from trueseed.ledger.sources import Runs
from trueseed.ledger.statement import (
    CASE,
    CASE_END,
    DECLARATION,
    DESTRUCTION,
    HOLD,
    IMPORT,
    KEY_CHANGE,
    QUOTA,
    QUOTA_RELEASE,
    RECALL_RELEASE,
    RECONCILIATION,
    RELEASE,
    SEAL,
    STEP,
    WITHDRAWAL,
    envelope,
    open_envelope,
    parse_canonical,
    statement,
)  # fmt: skip
from trueseed.ledger.steps import faults
from trueseed.ledger.succession import Succession, change
from trueseed.ledger.timestamp import stamped
from trueseed.ledger.withdrawals import Recalls
from trueseed.report import reach
from trueseed.teachers.supplier import usage_check
from trueseed.terms import catalog, files
from trueseed.terms.catalog import SHIPPED, Catalog
from trueseed.terms.model import Document

OLD = Path(__file__).parent / "old_ledgers" / "v1"
OLD_LINES = (OLD / "entries.jsonl").read_bytes().splitlines()
EXAMPLES = int(os.environ.get("FUZZ", "40"))


@pytest.fixture(autouse=True)
def _nobody_is_tidied_away_deep_down() -> Iterator[None]:
    """Deeply nested input ends at the recursion limit, where what the collector happens to finalise fails for that."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NESTED = [b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"[" * 3000 + b"]" * 3000, b"x=" + b"[" * 9000]

PIECES = [b"", b"\n", b'"', b"null", b"-1", b"\xff"]

KEYS = Identity.open((OLD / "keys").read_text()).keys
SINCE = (OLD / "checkpoint-6").read_text()
STAMPED = unpacked((OLD / "proof.zip").read_bytes(), "proof.zip")
SIZE = "outside/00000011"
CHECKPOINT = STAMPED[f"{SIZE}/checkpoint"]
WITNESS = Key.parse("witness.example/w1+b72bab2e+BCVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd")
DOCUMENTS = sorted(SHIPPED.rglob("*.toml"))


def named(ending: str) -> bytes:
    return next(data for name, data in STAMPED.items() if name.endswith(ending))


def text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def kept(folder: Path, data: bytes) -> Document:
    """A document in `ledger/terms`, under the name of the one it was."""
    (folder / f"{sha256(DOCUMENT)}.json").write_bytes(data)
    return catalog._read_kept(folder / f"{sha256(DOCUMENT)}.json")


DOCUMENT = canonical(Catalog.load().documents[0].to_json())


def change_of_keys() -> bytes:
    """The file `succession` of a log in which the operator's key was stolen."""
    reviewer = Signer.from_seed("reviewer", bytes([1] * 32))
    new = Signer.from_seed("operator", bytes([9] * 32)).key(ORIGIN)
    said = {**change("operator", new, "stolen", "2026-11-25T12:00:00Z", ""), "log": {"index": 4}}
    return canonical(envelope(statement(KEY_CHANGE, [], said), reviewer)) + b"\n"


ORIGIN = "trueseed/0123456789abcdef"
FIRST = tuple(Signer.from_seed(role, bytes([n] * 32)).key(ORIGIN) for n, role in enumerate(("operator", "reviewer")))

# What was signed, or is named by its digest, reads as it was or not at all.
SEALED: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "statement": (
        (OLD / "entries.jsonl").read_bytes().splitlines()[6],
        lambda data: open_envelope(parse_canonical(data), KEYS),
    ),
    "identity": ((OLD / "keys").read_bytes(), lambda data: Identity.open(text(data))),
    "checkpoint": ((OLD / "checkpoint").read_bytes(), lambda data: Checkpoint.open(text(data), KEYS[0])),
    "inclusion": ((OLD / "entry-7.tlog-proof").read_bytes(), lambda data: check_inclusion(text(data), KEYS[0])),
    "consistency": (
        (OLD / "consistency-6").read_bytes(),
        lambda data: check_consistency(text(data), SINCE, KEYS[0]),
    ),
    "succession": (change_of_keys(), lambda data: Succession.read(FIRST, data)),
    "packed": (pack({"manifest": CHECKPOINT, "keys": b"k"}), lambda data: unpacked(data, "proof.zip")),
    "cosignature": (named(".cosignatures"), lambda data: list(cosigned(text(CHECKPOINT), text(data), [WITNESS]))),
    "time stamp": (named(".tsr"), lambda data: stamped(data, CHECKPOINT, [(OLD / "proof-tsa.pem").read_bytes()])),
}


@st.composite
def changed(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with a few changes, a deep nest, or something else altogether."""
    kind = draw(st.sampled_from(["edit"] * 8 + ["nest", "other"]))
    if kind == "nest":
        return draw(st.sampled_from(NESTED))
    if kind == "other":
        return draw(st.binary(max_size=200))
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        to = draw(st.integers(at, min(len(data), at + draw(st.sampled_from([0, 1, 2, 40, len(whole)])))))
        data[at:to] = draw(st.one_of(st.binary(max_size=4), st.sampled_from(PIECES)))
    return bytes(data)


@pytest.mark.parametrize("name", SEALED)
@fuzz
@given(data=st.data())
def test_what_was_sealed_reads_as_it_was_or_not_at_all(name, data):
    whole, read = SEALED[name]
    given_bytes = data.draw(changed(whole))
    try:
        found = read(given_bytes)
    except TrueSeedError as err:
        assert err.exit_code in (2, 4)
        return
    assert found in (None, [], Succession(FIRST), read(whole)), "a false accept"


@fuzz
@given(data=st.data())
def test_a_document_reads_as_one_that_reads_the_same_again_or_not_at_all(data):
    file = data.draw(st.sampled_from(DOCUMENTS))
    try:
        found = files.parse(text(data.draw(changed(file.read_bytes()))), file.name)
    except ConfigError:
        return
    assert catalog.from_json(json.loads(canonical(found.to_json()))) == found


@fuzz
@given(data=st.data())
def test_a_kept_document_is_the_one_of_its_digest_or_broken(tmp_path, data):
    given_bytes = data.draw(changed(DOCUMENT))
    try:
        found = kept(tmp_path, given_bytes)
    except TrueSeedError as err:
        assert err.exit_code in (2, 4)
        return
    assert canonical(found.to_json()) == DOCUMENT


@fuzz
@given(data=st.data())
def test_a_usage_report_that_was_changed_has_findings(data):
    report = json.dumps({"payload": base64.b64encode(b"{}").decode(), "payloadType": "x", "signatures": []}).encode()
    try:
        opened = usage_check.check(data.draw(changed(report)), [], own=None)
    except TrueSeedError as err:
        assert err.exit_code in (2, 4)
        return
    assert opened.findings


# What an operator signed, and is malformed all the same: written by another program, or to make us fall over.

AT, D = "2026-11-25T12:00:00Z", "ab" * 32
LARGE = "acme/large@api"
LABEL = {"source": LARGE, "relation": "output", "terms": D}
ENTERED = {"source": LARGE, "terms": D, "use": "train", "project": "seed", "first": AT, "last": AT, "count": 3}
ASKED = {
    "run": "r9", "effect": "train", "inputs": [], "asks": [{"source": LARGE, "use": "train"}], "brings": [], "at": AT,
    "labels": [LABEL], "terms": {LARGE: D}, "fingerprint": D, "verdicts": [], "judged_on": "2026-11-25",
}  # fmt: skip
MADE = {"outputs": [{"kind": "weights", "digest": "cd" * 32}], "learned": [{**LABEL, "terms": "ef" * 32}]}
BATCH = {"run": "r1", "first": 0, "count": 2, "root": D}
SHOWN = [{"name": "a", "sha256": D}]
WAY = {"route": "api", "address": "a:1", "key": D}
QUOTED = {"maker": "acme", "entity": "us", "model": "large", "way": WAY}
SAID: list[tuple[str, dict[str, Any]]] = [
    *((entry.predicate_type, entry.predicate) for entry in map(Entry.parse, count(), OLD_LINES)),
    (WITHDRAWAL, {"source": LARGE, "reason": "r", "at": AT, "use": "train", "terms": [D], "since": AT}),
    (STEP, {**ASKED, "event": "opened", "step": "leave_out", "config": {}}),
    (STEP, {**ASKED, **MADE, "event": "done", "step": "leave_out", "config": {"without": [3]}, "entered": [ENTERED]}),
    (SEAL, {"step": "g", "run": "r9", "counts": {}, "at": AT, "answers": BATCH}),
    (SEAL, {"step": "gateway", "run": "r1", "counts": {}, "at": AT, "calls": BATCH}),
    (IMPORT, {"of": ORIGIN, "sources": {LARGE: 2}, "terms": [D], "answers": {**BATCH, "run": "import-1"}, "at": AT}),
    (RECALL_RELEASE, {"withdrawal": len(OLD_LINES), "source": LARGE, "evidence": D, "at": AT}),
    (HOLD, {"maker": "acme", "entity": "us", "reason": "r", "evidence": D, "at": AT, "way": WAY}),
    (RELEASE, {"maker": "acme", "entity": "us", "evidence": D, "placed_at": AT, "at": AT}),
    (CASE, {"state": "opened", "about": ["acme"], "said": "x", "documents": SHOWN, "at": AT}),
    (CASE_END, {"state": "terminated", "case": len(OLD_LINES) + 9, "said": "x", "documents": [], "at": AT}),
    (DESTRUCTION, {"artifacts": MADE["outputs"], "answers": ["r9"], "why": "w", "evidence": SHOWN, "at": AT}),
    (DECLARATION, {"project": "seed", "facts": {}, "at": AT}),
    (RECONCILIATION, {"maker": "acme", "sources": "*", "month": "2026-11", "through": None, "verdict": "agrees"}),
    (QUOTA, {**QUOTED, "event": "met", "reason": "r", "evidence": D, "at": AT}),
    (QUOTA, {**QUOTED, "event": "renewed", "met_at": AT, "at": AT}),
    (QUOTA_RELEASE, {"maker": "acme", "entity": "us", "evidence": D, "at": AT}),
]
ODD = [None, True, 0, -1, 1.5, "", [], {}, [[]], [{}], ["x"], {"a": 1}, "2026-13-45", [None]]


def retention(entries: list[Entry]) -> object:
    kept = Retention()
    for entry in entries:
        kept.see(entry)
    return kept.forbids([LARGE])


def door(entries: list[Entry]) -> object:
    log = cast(Ledger, SimpleNamespace(size=len(entries), entries=lambda start: iter(entries[start:])))
    reading = Reading()
    reading.catch_up(log)
    return reading.tries(D)


READERS: dict[str, Callable[[list[Entry]], object]] = {
    "door": door, "lineage": Lineage.read, "recalls": Recalls.read, "destroyed": Destroyed.read, "cases": Cases.read,
    "holds": held, "runs": lambda entries: Runs.read(entries).sources(), "rules": lambda entries: list(faults(entries)),
    "quotas": written, "retention": retention, "reach": reach.read,
}  # fmt: skip


def stated(said: Sequence[tuple[str, dict[str, Any]]]) -> list[Entry]:
    return [
        Entry(index=index, statement={"predicateType": kind, "predicate": predicate}, envelope={}, leaf=b"")
        for index, (kind, predicate) in enumerate(said)
    ]


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The ways to everything within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, *path, key)


@st.composite
def malformed(draw: st.DrawFn) -> list[Entry]:
    """The statements above, in one of which something is gone, or another thing."""
    said = copy.deepcopy(SAID)
    _, predicate = said[draw(st.integers(0, len(said) - 1))]
    *way, last = draw(st.sampled_from(list(places(predicate))))
    at: Any = predicate
    for key in way:
        at = at[key]
    if draw(st.booleans()):
        at[last] = draw(st.sampled_from(ODD))
    else:
        del at[last]
    return stated(said)


def test_well_formed_statements_are_read():
    for read in READERS.values():
        read(stated(SAID))


@fuzz
@given(entries=malformed())
def test_whatever_a_signed_statement_says_it_is_read_or_broken(entries):
    for read in READERS.values():
        with suppress(Broken):
            read(entries)


@pytest.mark.parametrize(
    ("predicate", "reader"),
    [
        ({**ASKED, "event": "done", "step": "leave_out", "config": {"without": ["x"]}}, "recalls"),
        ({**ASKED, **MADE, "event": "done", "step": "s", "entered": [{**ENTERED, "last": []}]}, "recalls"),
        ({**ASKED, "event": "done", "step": "s", "asks": [None]}, "runs"),
        ({**ASKED, **MADE, "event": "done", "step": "s", "inputs": [{}]}, "lineage"),
        ({**ASKED, **MADE, "step": "s"}, "door"),
    ],
)
def test_a_step_that_says_nonsense_is_broken(predicate, reader):
    with pytest.raises(Broken, match="malformed"):
        READERS[reader](stated([*SAID[: len(OLD_LINES) + 1], (STEP, predicate)]))


def test_an_event_that_is_no_word_puts_nothing_out():
    assert not Lineage.read(stated([(STEP, {**ASKED, **MADE, "event": []})])).artifacts()
