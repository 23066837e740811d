"""What was done: an append-only log of signed statements that a stranger can verify with a public key alone.

    signing      keys, signatures, signed notes (the only file that imports cryptography)
    statement    in-toto statements in DSSE envelopes
    checkpoint   size and root of the log, signed
    identity     the log's name and public keys
    remembered   what the user's own state keeps of a log, outside the workspace
    log          the log itself: open, append, read
    index        looking things up in it
    lineage      what was made from what, and which labels it carries
    entered      whose words entered a step, when, and what for
    withdrawals  what was recalled, how far that reaches, what was released
    holds        which makers are on hold
    steps        do the statements obey the rules of the door?
    verify       re-reads every byte and says what is broken, and what could not be excluded
    proof        inclusion and consistency, as text files for third parties

The bytes are specified in `docs/ledger-format.md`.
"""

from trueseed.ledger.lineage import Edge, Label, Lineage, Made
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.proof import check_consistency, check_inclusion, prove_consistency, prove_inclusion
from trueseed.ledger.signing import Key
from trueseed.ledger.statement import DECLARATION, SEAL, STEP, WAIVER, WITHDRAWAL, subject
from trueseed.ledger.verify import Report, verify_ledger
from trueseed.ledger.withdrawals import Recalls, Withdrawal

__all__ = [
    "DECLARATION",
    "SEAL",
    "STEP",
    "WAIVER",
    "WITHDRAWAL",
    "Edge",
    "Entry",
    "Key",
    "Label",
    "Ledger",
    "Lineage",
    "Made",
    "Recalls",
    "Report",
    "Withdrawal",
    "check_consistency",
    "check_inclusion",
    "prove_consistency",
    "prove_inclusion",
    "subject",
    "verify_ledger",
]
