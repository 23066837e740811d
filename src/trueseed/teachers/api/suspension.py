"""A maker that suspended us: on hold at once, its words kept where the reviewer reads them, then a line in the ledger.

    said = words(failure, key)
    suspended(workspace, holds, source=source, because=action.because, said=said, way=way)

The words lie in the workspace, in `evidence/`, named by the digest that the hold has of them.
"""

import hashlib

from trueseed.core.durable import write_atomic
from trueseed.core.redact import redact
from trueseed.evidence import EVIDENCE
from trueseed.teachers.account.holds import Hold, Holds, hold
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.actions import Failure
from trueseed.terms.model import parse_source
from trueseed.workspace import Place


def words(failure: Failure, key: str) -> str:
    """What the provider said, on one line, without `key` and whatever else looks like one."""
    said = " ".join(redact(failure.message, [key]).split())
    return (f"{failure.status}: " if failure.status else "") + said


def evidence(said: str) -> str:
    """SHA-256 of the words, by which a hold names them."""
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()


def suspended(workspace: Place, holds: Holds, *, source: str, because: str, said: str, way: Way) -> Hold:
    """The maker of `source` said `said` when it was asked this way. Returns the hold that stands.

    It binds before its words are written, so that no full disk is a way around it. Raises as `Holds.place`, `OSError`.
    """
    maker, named = parse_source(source).maker, {"reason": because, "evidence": evidence(said)}
    holds.place(maker, **named, way=way)
    write_atomic(workspace.folder / EVIDENCE / f"{named['evidence']}.txt", said.encode(errors="replace"))
    return hold(workspace.ledger, holds, maker=maker, **named, way=way)
