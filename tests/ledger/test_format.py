"""docs/ledger-format.md is true: its vectors are recomputed here the way a stranger would, from its words alone.

Nothing of trueseed.ledger is used until the last tests, which read the same bytes with it.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trueseed.ledger.identity import Identity
from trueseed.ledger.proof import check_consistency, check_inclusion
from trueseed.ledger.verify import verify_ledger

DOC = Path(__file__).parents[2] / "docs" / "ledger-format.md"
VECTORS = dict(re.findall(r"^```text vector=(\S+)\n(.*?)^```$", DOC.read_text(encoding="utf-8"), flags=re.M | re.S))

ORIGIN = "trueseed/0123456789abcdef"
OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
REVIEWER = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
SIGNERS = [OPERATOR, OPERATOR, REVIEWER]  # of entries 0, 1, 2


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def note_hash(name: str, key: Ed25519PrivateKey) -> bytes:
    return sha(name.encode() + b"\n\x01" + public(key))[:4]


def verifier(name: str, key: Ed25519PrivateKey) -> str:
    return f"{name}+{note_hash(name, key).hex()}+{b64(bytes([1]) + public(key))}"


def note(text: str) -> str:
    return f"{text}\n— {ORIGIN} {b64(note_hash(ORIGIN, OPERATOR) + OPERATOR.sign(text.encode()))}\n"


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, for up to three leaves."""
    if len(leaves) == 0:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 2 if len(leaves) == 3 else 1
    return sha(b"\x01" + tree(leaves[:split]) + tree(leaves[split:]))


LEAVES = [sha(b"\x00" + VECTORS[f"line-{index}"].removesuffix("\n").encode()) for index in range(3)]


def test_the_key_file():
    text = f"trueseed.dev/ledger@v1\n{verifier(ORIGIN, OPERATOR)}\n{verifier(ORIGIN + '/reviewer', REVIEWER)}\n"
    assert VECTORS["keys"] == note(text)


@pytest.mark.parametrize("index", range(3))
def test_the_statements(index):
    payload = VECTORS[f"statement-{index}"].removesuffix("\n")
    said = json.loads(payload)
    assert rfc8785.dumps(said).decode() == payload
    assert said["predicate"]["log"] == {"origin": ORIGIN, "index": index, "root": tree(LEAVES[:index]).hex()}


def test_a_statement_about_nothing_is_about_its_predicate():
    said = json.loads(VECTORS["statement-0"])
    digest = sha(rfc8785.dumps(said["predicate"])).hex()
    assert said["subject"] == [{"name": "predicate", "digest": {"sha256": digest}}]


@pytest.mark.parametrize("index", range(3))
def test_the_lines(index):
    payload, kind = VECTORS[f"statement-{index}"].removesuffix("\n").encode(), "application/vnd.in-toto+json"
    covered = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    signature = {"keyid": sha(public(SIGNERS[index])).hex(), "sig": b64(SIGNERS[index].sign(covered))}
    envelope: dict[str, Any] = {"payload": b64(payload), "payloadType": kind, "signatures": [signature]}
    assert VECTORS[f"line-{index}"] == rfc8785.dumps(envelope).decode() + "\n"


@pytest.mark.parametrize("index", range(3))
def test_the_leaf_hashes(index):
    assert VECTORS[f"leaf-{index}"] == LEAVES[index].hex() + "\n"


@pytest.mark.parametrize("size", [0, 1, 3])
def test_the_checkpoints(size):
    assert VECTORS[f"checkpoint-{size}"] == note(f"{ORIGIN}\n{size}\n{b64(tree(LEAVES[:size]))}\n")


def test_the_inclusion_proof():
    entry = VECTORS["line-1"].removesuffix("\n").encode()
    lines = ["c2sp.org/tlog-proof@v1", f"extra {b64(entry)}", "index 1", b64(LEAVES[0]), b64(LEAVES[2])]
    assert VECTORS["inclusion-1"] == "\n".join(lines) + "\n\n" + VECTORS["checkpoint-3"]


def test_the_consistency_proof():
    assert VECTORS["consistency-1-3"] == f"old 1\n{b64(LEAVES[1])}\n{b64(LEAVES[2])}\n\n" + VECTORS["checkpoint-3"]


def test_cosignature():
    witness, name, at = Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96))), "witness.example/w1", 1764000000
    public = b"\x04" + witness.public_key().public_bytes_raw()
    short = sha(name.encode() + b"\n" + public)[:4]
    assert VECTORS["witness"] == f"{name}+{short.hex()}+{b64(public)}\n"
    text = VECTORS["checkpoint-3"].split("\n\n")[0] + "\n"
    signature = witness.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
    assert VECTORS["cosignature-3"] == f"— {name} {b64(short + at.to_bytes(8, 'big') + signature)}\n"


def test_there_is_no_vector_that_nobody_recomputes():
    each = [f"{kind}-{index}" for kind in ("statement", "line", "leaf") for index in range(3)]
    notes = ["keys", "checkpoint-0", "checkpoint-1", "checkpoint-3", "inclusion-1", "consistency-1-3"]
    cosigned = ["witness", "cosignature-3"]
    assert sorted(VECTORS) == sorted(each + notes + cosigned)


# -- the same bytes, read by trueseed ----------------------------------------------------------------------------------


def test_the_vectors_are_a_ledger_that_verifies(tmp_path):
    (tmp_path / "keys").write_text(VECTORS["keys"])
    (tmp_path / "checkpoint").write_text(VECTORS["checkpoint-3"])
    (tmp_path / "entries.jsonl").write_text("".join(VECTORS[f"line-{index}"] for index in range(3)))
    report = verify_ledger(tmp_path, since=VECTORS["checkpoint-1"], keys=[verifier(ORIGIN, OPERATOR)])
    assert (report.findings, report.size, report.root) == ((), 3, tree(LEAVES).hex())


def test_the_proofs_are_accepted():
    operator = Identity.open(VECTORS["keys"]).operator
    assert check_inclusion(VECTORS["inclusion-1"], operator).entry.predicate["event"] == "done"
    assert check_consistency(VECTORS["consistency-1-3"], VECTORS["checkpoint-1"], operator).size == 3
