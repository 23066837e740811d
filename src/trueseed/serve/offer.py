"""Which student may be talked to now, and offering it inside an open step, so that a recall stops a running server."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

from trueseed.access import listen
from trueseed.access.guard import LOOPBACK
from trueseed.core.canonical import now
from trueseed.serve import api
from trueseed.student import newest_student
from trueseed.terms.model import Effect, Relation
from trueseed.workspace import Step, Workspace

if TYPE_CHECKING:
    from trueseed.lm.engine import Engine

SEAL_EVERY_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Offered:
    """A student, its name, and the open step under which it speaks."""

    name: str
    model: "Engine"
    step: Step


@contextmanager
def student(workspace: Workspace, where: str, market: str = "") -> Iterator[Offered]:
    """Opens a serve step on the newest student. market: the country whose people are served, '' for none but us.

    Raises `Refused` when terms or a recall forbid it, or no approval for the market is declared.
    """
    artifact = newest_student(workspace)
    config = {"where": where, "started_at": now(), "session": token_hex(4), "process": os.getpid()}
    with workspace.step("serve", inputs=[artifact], effect=Effect.SERVE, config=config, market=market) as step:
        from trueseed.lm.engine import Engine  # once the terms permit it

        name = workspace.facts.student.name or "student"
        yield Offered(name=name, model=Engine(artifact.folder, f"own/{name}"), step=step)


def over_http(offered: Offered, *, host: str, port: int) -> None:
    """Serves until stopped. Every request looks for recalls; the ledger hears of the work at intervals."""
    watch = _Watch(offered.step)
    listen.run(
        api.app(
            {offered.name: offered.model},
            allowed=watch,
            still=lambda _: offered.step.look_if_grown(),
            about={offered.name: _about(offered.step)},
            hosts=LOOPBACK if host in LOOPBACK else (*LOOPBACK, host),
        ),
        host=host,
        port=port,
    )


class _Watch:
    """Asked before every answer. Raises `Refused` when a source of the student was recalled since."""

    def __init__(self, step: Step) -> None:
        self._step, self._sealed_at = step, time.monotonic()

    def __call__(self, name: str) -> None:
        self._step.count(f"requests:{name}")
        self._step.look_again()
        self._step.look_on_a_new_day()
        if time.monotonic() - self._sealed_at > SEAL_EVERY_S:
            self._sealed_at = time.monotonic()
            self._step.seal()


def _about(step: Step) -> api.About:
    catalog = step.workspace.catalog
    known = {label.terms: document for label in step.labels if (document := catalog.by_digest(label.terms))}
    names = {
        terms: "; ".join([document.id, *(f"{text.id}: {text.whose}" for text in document.texts if text.whose)])
        for terms, document in known.items()
    }
    return api.About(
        teacher=", ".join(sorted({label.source for label in step.labels if label.relation is Relation.OUTPUT})),
        labels=tuple({**label.to_json(), "terms": names.get(label.terms, label.terms)} for label in step.labels),
        obligations=tuple(duty.text for duty in step.obligations),
    )
