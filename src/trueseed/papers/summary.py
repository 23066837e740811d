"""The public summary of training content that the EU's AI Act asks of providers (article 53(1)(d)).

After the Commission's template (2025-07-24, C(2025) 8311), headings in our words. Its section 2.5, synthetic data, is
filled from the ledger. Of the rest only what the ledger knows is said; what the provider must add stands as such, so
that nobody takes an empty line for a no.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from trueseed.papers.corpus import Share
from trueseed.papers.dossier import Dossier, is_model
from trueseed.terms.model import parse_source

FILE, JSON_FILE = "training-content-summary.md", "training-content-summary.json"
TEMPLATE = "C(2025) 8311, template for the public summary of training content, Regulation (EU) 2024/1689, art. 53(1)(d)"
PROVIDER = "not in the ledger: the provider states it"
SYNTHETIC = ("teacher", "transform")
_BOUNDS = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"))


def describe(dossier: Dossier) -> dict[str, Any]:
    """By number of the template's section."""
    return {
        "template": TEMPLATE,
        "1.1 provider": {"name and contact": PROVIDER, "authorised representative": PROVIDER},
        "1.2 model": {
            "name": f"{dossier.name} (weights:{dossier.student.digest})",
            "depends on": list(dossier.base),
            "placed on the Union market": PROVIDER,
        },
        "1.3 training data": {
            "modalities": ["text"],
            "size": _size(dossier),
            "records": sum(corpus.records("train") for corpus in dossier.corpora),
            "latest acquisition": max((corpus.last for corpus in dossier.corpora), default=""),
        },
        "2.1 to 2.4, 2.6 other sources": _others(dossier),
        "2.5 synthetic data": _synthetic(dossier),
        "3 processing": _processing(dossier),
        "ledger": {**dossier.ledger, "student": f"weights:{dossier.student.digest}"},
    }


def _size(dossier: Dossier) -> str:
    """Of what this training read. What the base weights learned from before is their provider's to say."""
    tokens = dossier.training["counts"].get("tokens")
    if tokens is None:
        return "not counted"
    return next((told for bound, told in _BOUNDS if tokens < bound), "more than 10 trillion tokens")


def _shares(dossier: Dossier) -> list[Share]:
    return sorted(
        (share for corpus in dossier.corpora for share in corpus.shares), key=lambda share: (share.source, share.kind)
    )


def _synthetic(dossier: Dossier) -> dict[str, Any]:
    written = [share for share in _shares(dossier) if share.kind in SYNTHETIC]
    models = [_model(name, list(found), dossier) for name, found in groupby(written, key=lambda share: share.source)]
    chose = sorted({x.source for x in dossier.labels if x.relation.value in ("filter", "score") and is_model(x.source)})
    return {
        "made by the provider, or for it, to train the model": "yes" if written else "no",
        "modalities": ["text"] if written else [],
        "models whose answers it learned from": models,
        "models that chose or graded what it learned from": chose,
        "declared to have taught those models": {name: list(told) for name, told in dossier.upstream.items()},
    }


def _model(name: str, shares: list[Share], dossier: Dossier) -> dict[str, Any]:
    source = parse_source(name)
    texts = [document for share in shares if (document := dossier.documents.get(share.terms))]
    return {
        "model": name,
        "maker": source.maker,
        "route": source.route,
        "on the Union market": PROVIDER,
        "records": sum(share.records for share in shares),
        "asked": {"first": min(share.first for share in shares), "last": max(share.last for share in shares)},
        "terms": sorted({f"{text.document}, version {text.version}" for text in texts}),
    }


def _others(dossier: Dossier) -> dict[str, Any]:
    """Records of people and of imported datasets, by source. Whether they are public is not in the ledger."""
    others = [share for share in _shares(dossier) if share.kind not in SYNTHETIC]
    counted = {
        name: sum(share.records for share in found) for name, found in groupby(others, key=lambda share: share.source)
    }
    prompts = sorted({x.source for x in dossier.labels if x.relation.value == "output" and not is_model(x.source)})
    return {"records by source": counted, "works of the operator's own": prompts, "base weights": _base(dossier)}


def _base(dossier: Dossier) -> dict[str, str]:
    return dict.fromkeys(dossier.base, "its training content: see its provider's own summary")


def _processing(dossier: Dossier) -> dict[str, Any]:
    dropped: dict[str, int] = {}
    for corpus in dossier.corpora:
        for reason, n in corpus.dataset.meta.get("dropped", {}).items():
            dropped[reason] = dropped.get(reason, 0) + n
    return {
        "reservation of rights": "no step of this ledger crawled or scraped; of imported data its makers say it",
        "removal of illegal content": PROVIDER,
        "records taken out, by reason": dropped,
        "identity filter": dossier.identity_filter,
    }


def render(dossier: Dossier) -> str:
    """The same in Markdown."""
    lines = [f"# Summary of training content: {dossier.name}", "", f"After {TEMPLATE}.", ""]
    for section, content in describe(dossier).items():
        if section != "template":
            lines += [f"## {section[0].upper()}{section[1:]}", "", *_lines(content), ""]
    return "\n".join(lines)


def _lines(content: Any, indent: str = "") -> Iterator[str]:
    for name, value in content.items():
        match value:
            case dict() if value:
                yield f"{indent}- {name}:"
                yield from _lines(value, indent + "  ")
            case [dict(), *_]:
                yield f"{indent}- {name}:"
                for each in value:
                    first, *rest = _lines(each, indent + "    ")
                    yield f"{indent}  {first.strip()}"
                    yield from rest
            case list() | dict():
                yield f"{indent}- {name}: {', '.join(map(str, value)) or 'none'}"
            case bool():
                yield f"{indent}- {name}: {'yes' if value else 'no'}"
            case _:
                yield f"{indent}- {name}: {value}"
