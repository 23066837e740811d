"""What must go when a licence ends? Read off each document's duty to delete, by relation and by what a thing is.

    must_go(label, "weights", catalog)    # Ending(outcome="must go", because="gemma-terms-2025-03-24, clause 4.5: …")

Such duties are about models: Gemma's reaches every student that learned from it in any way, Llama's only weights that
hold its own. Words that a model said are no model, so records and datasets are named by none that was read. A text
that was not read, or of whose end nothing is established, is unsettled: nobody may conclude that a thing may stay.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Label

Outcome = Literal["must go", "unsettled", "may stay"]
MODELS = frozenset({"weights", "tokenizer"})  # kinds of artifacts that a model is made of
_WORST: tuple[Outcome, ...] = ("must go", "unsettled", "may stay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """document: its id, '' when none is established. because: in a sentence."""

    outcome: Outcome
    source: str
    document: str
    because: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def must_go(label: Label, kind: str, catalog: Catalog) -> Ending:
    """What the end of the licence behind `label` asks of an artifact of this kind."""
    text = catalog.by_digest(label.terms) if label.terms else None
    if text is None:
        because = f"no document is established under which {label.source!r} was asked"
        return Ending(outcome="unsettled", source=label.source, document="", because=because)
    return _worst(_of(each, label, kind) for each in text.texts if each.letter is None)


def of_artifact(labels: Iterable[Label], kind: str, catalog: Catalog) -> Ending:
    """The strictest over several labels, of which there is at least one."""
    return _worst(must_go(label, kind, catalog) for label in sorted(labels))


def _of(text: Document, label: Label, kind: str) -> Ending:
    duties = [duty for duty in text.duties if duty.kind == "delete-on-termination"]
    reached = next((duty for duty in duties if label.relation in duty.relations), None)
    outcome: Outcome = "may stay"
    if reached and kind in MODELS:
        outcome, because = "must go", f"clause {reached.clause}: {reached.text}"
    elif not text.was_read:
        outcome, because = "unsettled", f"it was not read; {text.settle_by or 'read the text itself'}"
    elif text.on_termination == "unknown":
        outcome, because = "unsettled", "what its end asks for is not established"
    else:
        because = f"on its end: {text.on_termination}"
    return Ending(outcome=outcome, source=label.source, document=text.id, because=f"{text.id}: {because}")


def _worst(found: Iterable[Ending]) -> Ending:
    return min(found, key=lambda each: _WORST.index(each.outcome))
