"""Calls relayed for others: one line each in a journal, sealed into the ledger in batches (`batches`).

    proof = prove(ledger, folder, "call-5e0c")
    proof.verifies(root)              # the root that the seal in entry `proof.entry` names

A line holds digests, names and amounts; never what was asked or answered, and no secret.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from trueseed.core.merkle import Tree, leaf_hash
from trueseed.errors import ConfigError
from trueseed.ledger import batches
from trueseed.ledger.batches import Batch, LineProof, Lines
from trueseed.ledger.log import Ledger

__all__ = ["CALLS", "Batch", "Calls", "LineProof", "faults", "prove", "seal_left"]

CALLS = "calls"  # folder in a workspace
Calls = Lines


def seal_left(ledger: Ledger, folder: Path) -> int:
    """Seals what killed processes journalled and did not seal; returns how many calls that were."""
    return batches.seal_left(ledger, folder, "calls", step="gateway")


def prove(ledger: Ledger, folder: Path, call: str) -> LineProof:
    """Shows that the call of this id is sealed. Raises `ConfigError` when it is not there, or not sealed yet."""
    for path in sorted(folder.glob("*.jsonl")):
        leaves = list(batches.lines(path))
        position = next((at for at, leaf in enumerate(leaves) if _id(leaf) == call), None)
        if position is None:
            continue
        for entry, batch in batches.seals(ledger, "calls").get(path.stem, ()):
            index = position - batch.first
            if 0 <= index < batch.count:
                tree = Tree(leaf_hash(leaf) for leaf in leaves[batch.first : batch.first + batch.count])
                return LineProof(
                    line=leaves[position].decode(), index=index, size=batch.count, path=tree.path(index), entry=entry
                )
        raise ConfigError(f"call {call!r} is not sealed yet; the gateway seals at intervals and when it stops")
    raise ConfigError(f"there is no call {call!r} in {folder}; its id is in the answer's header X-TrueSeed-Call")


def faults(ledger: Ledger, folder: Path) -> Iterator[str]:
    """Whether the journals are what was sealed: one sentence for each that is not, or is gone."""
    for path, entry in batches.missing(ledger, folder, "calls"):
        yield f"{path}, whose calls entry {entry} of the ledger seals, is missing"
    yield from batches.faults(ledger, folder, "calls")


def _id(leaf: bytes) -> str:
    try:
        return str(json.loads(leaf)["call"])
    except (ValueError, KeyError, TypeError):
        return ""  # `faults` says that it was changed
