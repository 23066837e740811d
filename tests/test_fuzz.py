"""Whatever bytes a reader is given: what was written, or a sentence and exit code 2 or 4; never a traceback.

A short run here; `make fuzz` runs as many as `FUZZ` says.
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.canonical import canonical, sha256
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.cosignature import cosigned
from trueseed.ledger.identity import Identity
from trueseed.ledger.packed import pack, unpacked
from trueseed.ledger.proof import check_consistency, check_inclusion
from trueseed.ledger.signing import Key, Signer
from trueseed.ledger.statement import KEY_CHANGE, envelope, open_envelope, parse_canonical, statement
from trueseed.ledger.succession import Succession, change
from trueseed.ledger.timestamp import stamped
from trueseed.teachers.supplier import usage_check
from trueseed.terms import catalog, files
from trueseed.terms.catalog import SHIPPED, Catalog
from trueseed.terms.model import Document

OLD = Path(__file__).parent / "old_ledgers" / "v1"
EXAMPLES = int(os.environ.get("FUZZ", "40"))
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
