"""Cosigning other people's logs (https://c2sp.org/tlog-witness, by files instead of HTTP).

A witness keeps, of each log, the largest checkpoint that it cosigned, and cosigns only one that continues it: so it
never vouches for two histories of one log. It needs no entry of the log, and learns nothing of it but size and root.

    request:   `old <size>`, a consistency proof from there, an empty line, the checkpoint: the body of `add-checkpoint`
    answer:    signature lines, as `add-checkpoint` answers them
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trueseed.core.durable import write_atomic
from trueseed.core.merkle import consistency, is_consistent
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.cosignature import cosign
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import read_path
from trueseed.ledger.remembered import LOCK_PATIENCE_S
from trueseed.ledger.signing import Key, Signer, encode, load_or_create


def request(ledger: Ledger, old: int) -> str:
    """What a witness is asked that cosigned the log's first `old` entries last (0: none).

    Raises `ConfigError` when the log is empty, or shorter than that.
    """
    note, hashes = ledger.checkpoint(), ledger.leaf_hashes
    if not hashes:
        raise ConfigError(f"{ledger.folder} has no entries yet; there is nothing to witness")
    if old > len(hashes):
        raise ConfigError(
            f"the ledger has {len(hashes)} entries, and the witness is said to have cosigned {old}; if it did, the "
            f"ledger was rolled back"
        )
    path = consistency(hashes, old) if old else []
    return "\n".join([f"old {old}", *map(encode, path), "", note])


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """name: the one it signs under, as `host.example/w1`. folder: where it keeps what it cosigned."""

    name: str
    signer: Signer
    folder: Path

    @property
    def key(self) -> Key:
        return self.signer.key(self.name)

    def answer(self, request: str, operator: Key | None = None, *, at: int | None = None) -> str:
        """The cosignature, once the checkpoint is written down here. operator: whose log it is; needed the first time.

        Raises `ConfigError` when the log is not known here, or the request starts elsewhere than where the witness
        stands (it says where); `Broken` when the request is malformed, not signed by that operator, or of another
        history than the one that was cosigned.
        """
        old, path, note = read_path(request)
        origin = note.partition("\n")[0]
        with self._held(origin) as kept:
            known = self._operator(kept, operator, origin)
            new = Checkpoint.open(note, known)
            self._must_continue(kept, known, old, path, new)
            line = cosign(note, self.signer, self.name, int(time.time()) if at is None else at)
            write_atomic(kept / "log", f"{known}\n")
            write_atomic(kept / "checkpoint", note)
        return line

    @contextmanager
    def _held(self, origin: str) -> Iterator[Path]:
        kept = self.folder / hashlib.sha256(origin.encode()).hexdigest()[:32]
        try:
            kept.mkdir(parents=True, exist_ok=True)
            with FileLock(kept / "lock", timeout=LOCK_PATIENCE_S):
                yield kept
        except Timeout as err:
            raise ConfigError(f"{err.lock_file} has been held for minutes; end the process that hangs") from err

    def _operator(self, kept: Path, given: Key | None, origin: str) -> Key:
        known = Key.parse((kept / "log").read_text()) if (kept / "log").exists() else None
        if known and given and known != given:
            raise Broken(f"log {origin!r} has been witnessed with the key {known}, not with the one given")
        operator = known or given
        if operator is None:
            raise ConfigError(f"log {origin!r} is not known here; ask its operator for the key, and give it with --log")
        return operator

    def _must_continue(self, kept: Path, operator: Key, old: int, path: list[bytes], new: Checkpoint) -> None:
        last = None
        if (kept / "checkpoint").exists():
            last = Checkpoint.open((kept / "checkpoint").read_text(), operator)
        size = last.size if last else 0
        if old > new.size:
            raise Broken(f"it starts from {old} entries, and its checkpoint has {new.size}")
        if old != size:
            raise ConfigError(
                f"{self.name} cosigned {size} entries of {new.origin} last, and the request starts from {old}; ask for "
                f"one with `trueseed witness request --old {size}`"
            )
        continues = is_consistent(last.root, last.size, new.root, new.size, path) if last else not path
        if not continues:
            raise Broken(
                f"the log of {new.size} entries does not continue the one of {size} that {self.name} cosigned: it was "
                f"rewritten, or is a fork. Both checkpoints are signed by its operator; keep them"
            )


def own(state: Path, name: str | None = None) -> Witness:
    """This user as a witness: the key in `<state>/keys/witness.pem`, the name in `<state>/witness/name`.

    name: to sign under; only the first time. Raises `ConfigError` when there is none yet, or another is given later.
    """
    place = state / "witness" / "name"
    known = place.read_text().strip() if place.exists() else None
    if known is None and name is None:
        raise ConfigError("this user is no witness yet; choose a name with `trueseed witness key --name HOST/NAME`")
    if known and name and known != name:
        raise ConfigError(f"this user witnesses as {known!r}; others know its key under that name")
    made = Witness(
        name=known or name or "", signer=load_or_create("witness", state / "keys"), folder=state / "witness" / "logs"
    )
    Key.parse(str(made.key))  # a name that a note cannot hold
    if known is None:
        write_atomic(place, f"{made.name}\n")
    return made
