"""Which texts bind an answer: not one but several, put together as one document whose digest goes on the label.

    bound(document, "meta/llama-3.1-70b@together", day, (), found)

A text and those that it incorporates are one contract: the strictest that speaks decides, and what one is silent on is
left to the others. The text of a feature the answer was asked with joins that contract. A host's contract stands beside
the model's own, and each must permit by itself. A provider's written permission goes with all of them, and lifts what
that provider's own texts refuse. What is wanted and not known is put in as a text that nobody read, so that it refuses
and says what reading would settle it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from trueseed.terms.model import Document, parse_source

HOSTED = ("weights", "api")  # where a model's own terms are looked for when a host says nothing of that

Governing = Callable[[str, str], Document | None]  # source, feature ('' for the general text) → the text in force


def bound(
    document: Document,
    source: str,
    at: date,
    features: Sequence[str],
    governing: Governing,
    letters: tuple[Document, ...] = (),
) -> Document:
    """`document` as it bound `source` on the day `at`: with what it incorporates that was in force, the texts of
    `features`, when it is a host's the model's own terms beside it, and `letters`.
    """
    companions = tuple(text for text in document.companions if text.in_force(at))
    companions += tuple(governing(source, feature) or _feature_not_known(source, feature) for feature in features)
    beside = _models_own(document, source, at, governing)
    if companions == document.companions and not beside and not letters:
        return document
    return replace(document, companions=companions, beside=beside, letters=letters)


def cannot_bind(document: Document, source: str, at: date, features: Sequence[str]) -> str:
    """Why `document` is not what `bound` puts together for `source` on the day `at`, as far as that shows in it; ''
    when it may be.
    """
    if document.letter is not None:
        return "a written permission governs nothing by itself"
    if not document.governs(source) and document.was_read:
        return f"it governs {', '.join(document.sources)}"
    if not document.in_force(at):
        return f"it was not in force on {at}"
    if is_hosts(document, source) and not document.beside:
        return "it is a host's, and the model's own terms do not stand beside it"
    for feature in features:
        unknown = _feature_not_known(source, feature).id
        if not any(feature in text.features or text.id == unknown for text in document.companions):
            return f"no text of the feature {feature!r} is with it"
    for letter in document.letters:
        if not letter.in_force(at) or not letter.governs(source):
            return f"the letter {letter.id} does not speak of that source on that day"
    return ""


def general_not_known(source: str, letter: Document) -> Document:
    """In the place of a provider's general text, of whom nothing but a letter is known."""
    return _unread(
        f"general:{letter.provider}",
        provider=letter.provider,
        document=f"general terms of {letter.provider} for {source}",
        settle_by=f"read them and add them to the workspace's terms folder; the letter {letter.id!r} settles no more "
        "than the uses that it names",
    )


def is_hosts(document: Document, source: str) -> bool:
    """Whether it governs models of other makers: it says so, or by the pattern that names any maker's."""
    return bool(document.model_routes) or (
        parse_source(source).maker != "own" and _nearest(document, source).startswith("*")
    )


def _nearest(document: Document, source: str) -> str:
    matching = [pattern for pattern in document.sources if replace(document, sources=(pattern,)).governs(source)]
    return max(matching, key=lambda pattern: len(pattern.replace("*", "")), default="")


def _models_own(document: Document, source: str, at: date, governing: Governing) -> tuple[Document, ...]:
    if not is_hosts(document, source):
        return ()
    asked = parse_source(source)
    own = [f"{asked.maker}/{asked.model}@{route}" for route in document.model_routes or HOSTED if route != asked.route]
    known = [(each, found) for each in own if (found := governing(each, "")) and not is_hosts(found, each)]
    if not known:
        return (_model_not_known(source, own),)
    return tuple(bound(found, each, at, (), governing) for each, found in known)


def _feature_not_known(source: str, feature: str) -> Document:
    maker = parse_source(source).maker
    return _unread(
        f"feature:{maker}:{feature}",
        provider=maker,
        document=f"terms of {maker}'s feature {feature!r}",
        settle_by=f"read what {maker} says of {feature!r} and add it to the workspace's terms folder with "
        f"`features = [{feature!r}]`; or ask without it",
    )


def _model_not_known(source: str, own: Sequence[str]) -> Document:
    asked = parse_source(source)
    return _unread(
        f"model:{asked.maker}/{asked.model}",
        provider=asked.maker,
        document=f"terms of the model {asked.maker}/{asked.model} itself, which bind beside those of {asked.route!r}",
        settle_by=f"read the model's own terms and add them to the workspace's terms folder for {' or '.join(own)}",
    )


def _unread(identity: str, *, provider: str, document: str, settle_by: str) -> Document:
    return Document(
        id=identity,
        provider=provider,
        document=document,
        version="unknown",
        route="unknown",
        effective_from="unknown",
        observed_at="unknown",
        text_sha256="unknown",
        where_read="not read",
        verification="unread",
        settle_by=settle_by,
        on_termination="unknown",
        reaches_models_trained_on_output="unknown",
    )
