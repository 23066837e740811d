"""Who a log is: its name and public keys, in the file `keys` of the ledger folder, signed by the operator.

    trueseed.dev/ledger@v1
    trueseed/3f2a90c1d4e5b678+0b1c2d3e+AQ…
    trueseed/3f2a90c1d4e5b678/reviewer+4f5a6b7c+AQ…

    — trueseed/3f2a90c1d4e5b678 …

The file vouches for itself only: whoever made the ledger wrote it. Trust comes from the operator's verifier key given
from outside (`--key`), from this machine's own key, or from what the user's state remembers of its first meeting.
"""

import re
import secrets
from dataclasses import dataclass

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Key, Signer, open_note, sign_note

FORMAT = 1
_HEADER = re.compile(r"trueseed\.dev/ledger@v([1-9][0-9]{0,5})")
_ORIGIN = re.compile(r"trueseed/[0-9a-f]{16}")  # also a file name in the state folder, so strict


def new_origin() -> str:
    return f"trueseed/{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    operator: Key
    reviewer: Key

    @property
    def origin(self) -> str:
        return self.operator.name

    @property
    def keys(self) -> tuple[Key, Key]:
        return self.operator, self.reviewer

    @classmethod
    def of(cls, origin: str, operator: Signer, reviewer: Signer) -> "Identity":
        return cls(operator=operator.key(origin), reviewer=reviewer.key(origin))

    def sign(self, operator: Signer) -> str:
        text = f"trueseed.dev/ledger@v{FORMAT}\n{self.operator}\n{self.reviewer}\n"
        return sign_note(text, operator, self.origin)

    @classmethod
    def open(cls, note: str) -> "Identity":
        """Reads the file and checks the operator's signature on it.

        Raises `Broken` when it was edited, `ConfigError` when it is of a newer format than this version reads.
        """
        header, operator, reviewer, *_ = [*note.split("\n"), "", "", ""]
        version = _HEADER.fullmatch(header)
        try:
            made = cls(operator=Key.parse(operator), reviewer=Key.parse(reviewer))
            text = open_note(note, made.operator)
        except ConfigError as err:
            raise Broken(f"it does not name an operator and a reviewer ({err})") from err
        if version and int(version[1]) > FORMAT:  # only after the signature: a flipped bit is no newer format
            raise ConfigError(
                f"the ledger is of format {version[1]}, this version reads up to {FORMAT}; upgrade trueseed"
            )
        expected = f"trueseed.dev/ledger@v{FORMAT}\n{made.operator}\n{made.reviewer}\n"
        if [key.role for key in made.keys] != ["operator", "reviewer"]:
            raise Broken("it names a key of another kind than the operator's and the reviewer's")
        if not _ORIGIN.fullmatch(made.origin) or made.reviewer.name != f"{made.origin}/reviewer" or text != expected:
            raise Broken("its lines are not the format, the operator's and the reviewer's verifier keys")
        return made
