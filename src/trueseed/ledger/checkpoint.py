"""A log's size and root at one moment, signed by its operator (https://c2sp.org/tlog-checkpoint).

trueseed/3f2a90c1d4e5b678
12
u4xT…=

— trueseed/3f2a90c1d4e5b678 Zq…=
"""

from dataclasses import dataclass

from trueseed.errors import Broken
from trueseed.ledger.signing import Key, Signer, decode, encode, open_note, sign_note
from trueseed.ledger.succession import Succession


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """origin: name of the log. size: number of entries. root: 32 bytes, RFC 6962."""

    origin: str
    size: int
    root: bytes

    def sign(self, operator: Signer) -> str:
        return sign_note(f"{self.origin}\n{self.size}\n{encode(self.root)}\n", operator, self.origin)

    @classmethod
    def open(cls, note: str, operator: Key | Succession) -> "Checkpoint":
        """Reads a checkpoint that `operator` signed, and that is of the operator's own log; of a succession, the key
        that was in force after so many entries.

        Raises `Broken` when it is malformed, not signed by that key, or of another log.
        """
        key = operator.operator_at(_size(note)) if isinstance(operator, Succession) else operator
        lines = open_note(note, key).split("\n")
        try:
            origin, size, root, end = lines
            parsed = cls(origin=origin, size=int(size), root=decode(root))
        except ValueError as err:
            raise Broken("it does not have the three lines origin, size and root") from err
        if end or str(parsed.size) != size or parsed.size < 0 or len(parsed.root) != 32:
            raise Broken("its size or root is malformed")
        if origin != operator.name:
            raise Broken(f"it is of log {origin!r}, not {operator.name!r}")
        return parsed


def _size(note: str) -> int:
    """What a checkpoint says before it is checked; 0 when it says no number."""
    size = note.split("\n", 2)[1:2]
    return int(size[0]) if size and size[0].isascii() and size[0].isdecimal() and len(size[0]) < 20 else 0
