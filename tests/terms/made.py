"""Documents that nobody wrote, for laws that the shipped ones do not happen to show."""

from datetime import date
from typing import Any

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Duty, Permission, Relation, Use

EVERYWHERE = tuple(Relation)


def permits(*uses: Use, **conditions: Any) -> Permission:
    verdict = "conditional" if conditions else "permit"
    return Permission(uses=uses, relations=EVERYWHERE, verdict=verdict, clause="1", because="it says so", **conditions)


def refuses(*uses: Use) -> Permission:
    return Permission(uses=uses, relations=EVERYWHERE, verdict="refuse", clause="2", because="it forbids that")


def duty(kind: Any, value: str = "", *, uses: tuple[Use, ...] = tuple(Use)) -> Duty:
    return Duty(kind=kind, value=value, text=f"{kind} {value}", clause="3", uses=uses, relations=EVERYWHERE)


def document(identity: str, source: str, *said: Permission, **more: Any) -> Document:
    """A text that was read, in force since 2024."""
    content: dict[str, Any] = {
        "id": identity,
        "provider": identity,
        "document": identity,
        "version": "1",
        "route": "api",
        "sources": (source,) if source else (),
        "effective_from": date(2024, 1, 1),
        "observed_at": date(2024, 1, 1),
        "text_sha256": "unknown",
        "where_read": "nowhere",
        "verification": "primary",
        "on_termination": "nothing is said",
        "reaches_models_trained_on_output": "nothing is said",
        "permissions": said,
    }
    return Document(**{**content, **more})


def catalog(*documents: Document) -> Catalog:
    return Catalog(documents)
