"""Proofs that need neither the ledger nor us: text files that anyone checks with the operator's verifier key.

An inclusion proof is a C2SP tlog-proof (https://c2sp.org/tlog-proof@v1): index, audit path and checkpoint, with the
entry itself as extra data. A consistency proof has the form in which witnesses take it
(https://c2sp.org/tlog-witness, "add-checkpoint"): `old <size>`, the path, an empty line, the newer checkpoint.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trueseed.core.merkle import consistency, is_consistent, leaf_hash, root_from_inclusion
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.signing import Key, decode, encode
from trueseed.ledger.succession import Succession

HEADER = "c2sp.org/tlog-proof@v1"
LONGEST_PATH = 63  # a tree of 2^63 leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """What an inclusion proof shows: this entry is in the log that this checkpoint describes."""

    entry: Entry
    checkpoint: Checkpoint


def prove_inclusion(ledger: Ledger, index: int) -> str:
    """The tlog-proof file of one entry. Raises `ConfigError` when there is no such entry."""
    (proof,) = prove_each(ledger, [ledger.entry(index)])
    return proof


def prove_each(ledger: Ledger, entries: Iterable[Entry]) -> Iterator[str]:
    """The tlog-proof file of each entry, all under one checkpoint; the tree is kept, so each costs O(log size)."""
    note, path = ledger.paths()
    for entry in entries:
        yield _written(entry, path(entry.index), note)


def _written(entry: Entry, path: Sequence[bytes], note: str) -> str:
    lines = [HEADER, f"extra {encode(entry.leaf)}", f"index {entry.index}", *map(encode, path)]
    return "\n".join([*lines, "", note])


def check_inclusion(proof: str, operator: Key | Succession) -> Included:
    """Raises `Broken` when the proof is malformed, or does not show what it claims."""
    head, _, note = proof.partition("\n\n")
    match head.split("\n"):
        case [header, extra, index, *path] if (
            header == HEADER and extra.startswith("extra ") and index.startswith("index ")
        ):
            position, leaf = _number(index), _decoded([extra.removeprefix("extra ")])[0]
        case _:
            raise Broken(f"it is not a proof of the form {HEADER} with the entry as extra data")
    checkpoint = Checkpoint.open(note, operator)
    try:
        implied = root_from_inclusion(leaf_hash(leaf), position, checkpoint.size, _decoded(path))
    except ValueError as err:
        raise Broken(f"its path does not fit its index and checkpoint: {err}") from err
    if implied != checkpoint.root:
        raise Broken(f"the entry is not entry {position} of the log that the checkpoint describes")
    return Included(entry=Entry.parse(position, leaf), checkpoint=checkpoint)


def prove_consistency(ledger: Ledger, since: str) -> str:
    """Shows that the log continues the one that checkpoint `since` describes.

    Raises `Broken` when it does not, or `since` is not a checkpoint of this log; `ConfigError` when `since` is of the
    empty log, which every log continues.
    """
    old = Checkpoint.open(since, ledger.keys)
    note, hashes = ledger.checkpoint(), ledger.leaf_hashes
    if old.size == 0:
        raise ConfigError("every log continues the empty one; give a later checkpoint")
    if old.size > len(hashes):
        raise Broken(f"the checkpoint is of {old.size} entries, the log has {len(hashes)}: it was rolled back")
    path = consistency(hashes, old.size)
    proof = "\n".join([f"old {old.size}", *map(encode, path), "", note])
    check_consistency(proof, since, ledger.keys)
    return proof


def check_consistency(proof: str, since: str, operator: Key | Succession) -> Checkpoint:
    """The newer checkpoint. Raises `Broken` when the proof is malformed, or the newer log does not continue the old."""
    size, path, note = read_path(proof)
    old, new = Checkpoint.open(since, operator), Checkpoint.open(note, operator)
    if size != old.size:
        raise Broken(f"it is not a consistency proof from a checkpoint of {old.size} entries")
    if not is_consistent(old.root, old.size, new.root, new.size, path):
        raise Broken(f"the log of {new.size} entries does not continue that of {old.size}: a fork")
    return new


def read_path(proof: str) -> tuple[int, list[bytes], str]:
    """The size that a consistency proof starts from, its hashes, and the newer checkpoint, which is not checked here.

    Raises `Broken` when it does not have that form.
    """
    head, separator, note = proof.partition("\n\n")
    first, *path = head.split("\n")
    if not separator or not first.startswith("old "):
        raise Broken("it does not begin with `old` and a size, or has no empty line before a checkpoint")
    return _number(first), _decoded(path), note


def _number(line: str) -> int:
    digits = line.rpartition(" ")[2]
    if not digits.isascii() or not digits.isdecimal() or digits != str(int(digits[:20])):
        raise Broken(f"{line!r} does not hold a plain number")
    return int(digits)


def _decoded(lines: Sequence[str]) -> list[bytes]:
    try:
        if len(lines) > LONGEST_PATH:
            raise ValueError(f"more than {LONGEST_PATH} hashes")
        return [decode(line) for line in lines]
    except ValueError as err:
        raise Broken(f"its path or extra data is malformed: {err}") from err
