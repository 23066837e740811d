"""Other implementations agree with our trees, checkpoints and cosignatures."""

import re
from pathlib import Path

import pymerkle
import pytest

from trueseed.core.merkle import consistency, inclusion, is_consistent, leaf_hash, root, root_from_inclusion
from trueseed.ledger.cosignature import cosign, cosigned
from trueseed.ledger.signing import Key, Signer

DOC = Path(__file__).parents[2] / "docs" / "ledger-format.md"
VECTORS = dict(re.findall(r"^```text vector=(\S+)\n(.*?)^```$", DOC.read_text(encoding="utf-8"), flags=re.M | re.S))
LEAVES = [str(n).encode() * n for n in range(33)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


@pytest.fixture(scope="module")
def theirs():
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in LEAVES:
        tree.append_entry(leaf)
    return tree


def test_pymerkle_has_the_same_roots_and_paths(theirs):
    for size in range(1, len(LEAVES) + 1):
        assert theirs.get_root(size) == root(HASHES[:size])
        for index in range(size):
            leaf, *path = theirs.prove_inclusion(index + 1, size).path
            assert (leaf, path) == (HASHES[index], inclusion(HASHES[:size], index))


def test_pymerkle_accepts_our_paths_and_we_accept_that_its_trees_grow(theirs):
    for size in (1, 2, 7, 8, 31, 33):
        for index in range(size):
            proof = theirs.prove_inclusion(index + 1, size)
            proof.path = [HASHES[index], *inclusion(HASHES[:size], index)]
            pymerkle.verify_inclusion(HASHES[index], theirs.get_root(size), proof, index=index + 1, size=size)
            assert root_from_inclusion(theirs.get_leaf(index + 1), index, size, proof.path[1:]) == theirs.get_root(size)
        for old in range(1, size):
            path = consistency(HASHES[:size], old)
            assert is_consistent(theirs.get_root(old), old, theirs.get_root(size), size, path)


def test_cosignatures_are_byte_for_byte_those_of_aics_tlog():
    """The vector was made by it; Ed25519 leaves nothing to chance."""
    witness = Signer.from_seed("witness", bytes(range(64, 96)))
    note, line = VECTORS["checkpoint-3"], VECTORS["cosignature-3"]
    assert cosign(note, witness, "witness.example/w1", 1764000000) == line
    (found,) = cosigned(note, line, [Key.parse(VECTORS["witness"])])
    assert str(found) == "witness.example/w1 at 2025-11-24T16:00:00Z"


def test_aics_tlog_accepts_our_cosigned_checkpoint():
    aics = pytest.importorskip("aics_tlog", reason="it needs Python 3.12")
    note = aics.parse_note(VECTORS["checkpoint-3"] + VECTORS["cosignature-3"])
    operator = aics.parse_vkey(str(Signer.from_seed("operator", bytes(range(32))).key("trueseed/0123456789abcdef")))
    assert aics.verify_checkpoint(note, operator, [aics.parse_vkey(VECTORS["witness"].strip())], 1).ok
