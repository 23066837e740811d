"""Asking others to vouch for a log, and taking in what they answer: files out, files in, whatever carries them.

request = ask_witness(ledger, key)           # curl --data-binary @request https://…/add-checkpoint
take_cosignature(ledger, answer, key)
request = ask_authority(ledger)              # curl -H 'Content-Type: application/timestamp-query' --data-binary …
take_stamp(ledger, answer, [root])
"""

from collections.abc import Sequence

from trueseed.errors import Broken, ConfigError
from trueseed.ledger import outside, timestamp, witness
from trueseed.ledger.cosignature import Cosigned, cosigned
from trueseed.ledger.log import Ledger
from trueseed.ledger.outside import COSIGNATURES, STAMP, Seen
from trueseed.ledger.signing import Key
from trueseed.ledger.timestamp import Stamped
from trueseed.ledger.trust import Trust


def ask_witness(ledger: Ledger, key: Key, old: int | None = None) -> str:
    """The body of `add-checkpoint` for a witness, from what the ledger keeps of it, or from size `old`."""
    last = [each.checkpoint.size for each in _seen(ledger, Trust(witnesses=(key,))) if each.by]
    body = witness.request(ledger, old if old is not None else max(last, default=0))
    outside.keep(ledger.folder, ledger.checkpoint(), ledger.size)
    return body


def take_cosignature(ledger: Ledger, answer: str, key: Key) -> tuple[int, Cosigned]:
    """Keeps a witness's answer; the size that it cosigned, and when.

    Raises `ConfigError` when the answer is about none of the checkpoints that were asked about.
    """
    for each in reversed(_seen(ledger)):
        try:
            (found,) = cosigned(each.note, answer, [key])
        except (Broken, ValueError):
            continue
        outside.keep(ledger.folder, each.note, each.checkpoint.size, answer.encode(), COSIGNATURES)
        return each.checkpoint.size, found
    raise ConfigError(
        f"the answer holds no cosignature by {key} of a checkpoint that was asked about; a witness that answered with "
        f"a number wants a request from there: `trueseed witness request --old NUMBER`"
    )


def ask_authority(ledger: Ledger) -> bytes:
    """A TimeStampReq (DER) over the newest checkpoint. Raises `ConfigError` when the log is empty."""
    if not ledger.size:
        raise ConfigError(f"{ledger.folder} has no entries yet; there is nothing to time-stamp")
    body = timestamp.request(ledger.checkpoint().encode())
    outside.keep(ledger.folder, ledger.checkpoint(), ledger.size)
    return body


def take_stamp(ledger: Ledger, answer: bytes, roots: Sequence[bytes]) -> tuple[int, Stamped]:
    """Keeps an authority's answer; the size that it stamped, and when. roots: PEM.

    Raises `ConfigError` when it is about none of the checkpoints that were asked about, or leads to none of the roots.
    """
    why = "nothing was asked yet; make a request with `trueseed timestamp request`"
    for each in reversed(_seen(ledger)):
        try:
            found = timestamp.stamped(answer, each.note.encode(), roots)
        except Broken as err:
            why = str(err)
            continue
        if found is None:
            raise ConfigError("the time stamp leads to none of the roots given; give its authority's root with --tsa")
        outside.keep(ledger.folder, each.note, each.checkpoint.size, answer, STAMP)
        return each.checkpoint.size, found
    raise ConfigError(f"the answer stamps none of the checkpoints that were asked about: {why}")


def _seen(ledger: Ledger, trust: Trust | None = None) -> list[Seen]:
    return list(outside.seen(outside.files(ledger.folder), ledger.keys, trust or Trust()))
