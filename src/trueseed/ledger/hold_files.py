"""What this user's own state folder remembers of holds, so that an account which was lost, replaced by an older copy or
put aside for another one takes them back, whatever workspace is at work.

    <state>/holds/<maker>.<digest of our legal entity>[.<digest of the way>].json
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from trueseed.core.canonical import sha256
from trueseed.core.durable import state_folder, write_atomic
from trueseed.errors import Broken

log = logging.getLogger(__name__)

HOLD = {"maker", "entity", "reason", "evidence", "placed_at"}
WAY = {"route", "address", "key"}


def remember(hold: Mapping[str, str]) -> None:
    """Keeps a hold, as the members of `holds.Hold` and of the `Way` on which it was met, if there is one: once for each
    way. A failure is told and no more: the hold stands in the account.
    """
    way = [hold[name] for name in sorted(WAY & hold.keys())]
    path = _folder() / f"{_name(hold)}{'.' + sha256(repr(way).encode())[:16] if way else ''}.json"
    try:
        write_atomic(path, json.dumps(dict(hold), sort_keys=True) + "\n", mode=0o600)
    except OSError as err:
        log.warning("the hold on %s cannot be kept in %s (%s)", hold["maker"], path.parent, err.strerror)


def remembered() -> Iterator[dict[str, str]]:
    """Every hold that is kept here. Raises `Broken` for a file that is none."""
    for path in sorted(_folder().glob("*.json")):
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue  # released meanwhile
        try:
            hold = json.loads(text)
            if not isinstance(hold, dict) or not all(isinstance(value, str) for value in hold.values()):
                raise ValueError("it holds no strings")
            if hold.keys() - WAY != HOLD or (WAY & hold.keys()) not in (WAY, set()):
                raise ValueError("it has other members than a hold")
        except (OSError, ValueError, KeyError) as err:
            raise Broken(f"{path} is not the hold that was kept there ({err!r}); restore it from a copy") from err
        yield hold


def forget(hold: Mapping[str, str]) -> None:
    """The hold was released."""
    for path in (_folder() / f"{_name(hold)}.json", *_folder().glob(f"{_name(hold)}.{'[0-9a-f]' * 16}.json")):
        path.unlink(missing_ok=True)


def _folder() -> Path:
    return state_folder() / "holds"


def _name(hold: Mapping[str, str]) -> str:
    return f"{hold['maker']}.{sha256(hold['entity'].encode())[:16]}"
