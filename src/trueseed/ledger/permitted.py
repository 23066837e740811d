"""Written permissions of providers that a reviewer relied on: without that signature a letter in a folder is nothing.

    relied_on(ledger)    # {digest of the terms document that says what is permitted: Relied}

Whoever holds the operator's key could write a letter to themselves. So the reviewer, who saw it, signs the document
that says what it permits, with the digest of the letter.

Predicate: `https://trueseed.dev/permission/v1` {"document", "terms", "provider", "evidence" {"name", "sha256"}, "at"},
signed by the reviewer; "terms" is the digest of the document.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.statement import PERMISSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Relied:
    """entry: its index. document, terms: id and digest of what the letter permits. evidence: (name, SHA-256) of the
    letter.
    """

    entry: int
    document: str
    terms: str
    provider: str
    evidence: tuple[str, str]
    at: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in the predicate."""
        name, sha256 = self.evidence
        return {
            "document": self.document,
            "terms": self.terms,
            "provider": self.provider,
            "evidence": {"name": name, "sha256": sha256},
            "at": self.at,
        }

    def __str__(self) -> str:
        return f"{self.document}, a letter of {self.provider} (sha256 {self.evidence[1]}), signed on {self.at}"


def relied_on(ledger: Ledger | Iterable[Entry]) -> dict[str, Relied]:
    """By the digest of the document; of several statements of one, the first. Raises `Broken` for a malformed one."""
    found: dict[str, Relied] = {}
    for entry in ledger.entries() if isinstance(ledger, Ledger) else ledger:
        if entry.predicate_type == PERMISSION:
            made = _parse(entry.index, entry.predicate)
            found.setdefault(made.terms, made)
    return found


def _parse(index: int, said: Mapping[str, Any]) -> Relied:
    match said:
        case {
            "document": str(document), "terms": str(terms), "provider": str(provider), "at": str(at),
            "evidence": {"name": str(name), "sha256": str(sha256)},
        }:  # fmt: skip
            return Relied(
                entry=index, document=document, terms=terms, provider=provider, evidence=(name, sha256), at=at
            )
    raise Broken(f"the permission in entry {index} does not name a document and its evidence")
