"""What was done: an append-only log of signed statements that a stranger can verify with a public key alone.

    signing      keys, signatures, signed notes (the only file but timestamp that imports cryptography)
    statement    in-toto statements in DSSE envelopes
    checkpoint   size and root of the log, signed
    identity     the log's name and public keys
    succession   which keys are in force where: rotated, lost and stolen ones
    remembered   what the user's own state keeps of a log, outside the workspace
    log          the log itself: open, append, read
    reading      all that a door asks of it, each entry read once
    lineage      what was made from what, and which labels it carries
    entered      whose words entered a step, when, and what for
    withdrawals  what was recalled, how far that reaches, what was released
    holds        which makers are on hold
    quotas       which makers' own quotas were met
    steps        do the statements obey the rules of the door?
    verify       re-reads every byte and says what is broken, and what could not be excluded
    proof        inclusion and consistency, as text files for third parties
    cosignature  a witness's word on a checkpoint
    witness      being a witness of other people's logs
    timestamp    an authority's word that a checkpoint existed at a time
    outside      what others said of a log's checkpoints, kept beside it
    vouching     asking them, and taking in what they answer
    trust        whom of them this user believes

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
