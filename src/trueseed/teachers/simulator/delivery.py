"""How an answer leaves: whole or as a stream, and in the ways in which it goes wrong after it was billed."""

import asyncio

from trueseed.teachers.simulator import wire
from trueseed.teachers.simulator.account import Admitted
from trueseed.teachers.simulator.behaviour import Behaviour
from trueseed.teachers.simulator.caller import Caller
from trueseed.teachers.simulator.dialects import Headers

_JSON = (b"content-type", b"application/json")
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_BLANKS = b"\n" * (1 << 16)


async def deliver(call: Admitted, caller: Caller, headers: Headers, behaviour: Behaviour, *, created: int) -> None:
    """headers: the provider's own. created: Unix time that the answer tells."""
    if call.fault == "lost":
        return await caller.hang_up(unsent=True)
    if call.question.stream:
        return await _stream(call, caller, [*_EVENTS, *headers], behaviour, created)
    body = wire.whole(call, created)
    if call.fault == "malformed" and behaviour.echo_key:
        body = caller.key.encode() + body
    headers = [_JSON, *headers]
    if call.fault == "huge":
        return await _flood(caller, headers, body, behaviour.huge_bytes)
    if call.fault in ("cut", "stalled"):
        headers.append((b"content-length", b"%d" % len(body)))
        half = len(body) // 2
        return await _parts(call, caller, headers, [body[:half], body[half:]], behaviour)
    return await caller.reply(200, body, headers)


async def _stream(call: Admitted, caller: Caller, headers: Headers, behaviour: Behaviour, created: int) -> None:
    events = [*wire.events(call, created), wire.DONE]
    if call.fault == "huge":
        return await _flood(caller, headers, b"".join(events), behaviour.huge_bytes)
    if call.fault == "duplicated":
        events = [event for event in events[:-1] for _ in range(2)] + events[-1:]
    parts = events if behaviour.stream_gap_s else _halves(events)  # without pauses, few writes
    return await _parts(call, caller, headers, parts, behaviour)


async def _parts(call: Admitted, caller: Caller, headers: Headers, parts: list[bytes], behaviour: Behaviour) -> None:
    """One after the other, with a pause between two; `cut` and `stalled` strike in the middle."""
    await caller.start(200, headers)
    for number, part in enumerate(parts):
        if number == len(parts) // 2 and call.fault == "cut":
            return await caller.hang_up(unsent=False)
        if number == len(parts) // 2 and call.fault == "stalled":
            await asyncio.sleep(behaviour.stall_s)
        if number and behaviour.stream_gap_s and call.question.stream:
            await asyncio.sleep(behaviour.stream_gap_s)
        await caller.more(part)
    return await caller.more(b"", last=True)


async def _flood(caller: Caller, headers: Headers, body: bytes, blanks: int) -> None:
    """`body` after so many blanks, which JSON and events allow."""
    await caller.start(200, headers)
    while blanks > 0:
        await caller.more(_BLANKS[:blanks])
        blanks -= len(_BLANKS)
    await caller.more(body, last=True)


def _halves(pieces: list[bytes]) -> list[bytes]:
    half = len(pieces) // 2
    return [b"".join(pieces[:half]), b"".join(pieces[half:])]
