"""The card of a dataset that a student learned from, as the Hugging Face hub reads it."""

from collections.abc import Iterator
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from trueseed.papers.corpus import SIDES, Corpus
from trueseed.papers.dossier import Dossier
from trueseed.papers.notices import TERMS

_BOUNDS = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def render(dossier: Dossier, corpus: Corpus) -> str:
    """Raises `ValueError` when the hub's own classes do not take it: a bug of ours."""
    content = f"---\n{_front(dossier, corpus).to_yaml()}\n---\n\n" + "\n".join(_body(dossier, corpus)) + "\n"
    return str(DatasetCard(content))


def _front(dossier: Dossier, corpus: Corpus) -> DatasetCardData:
    machine, people = corpus.records(kinds=("teacher", "transform")), corpus.records(kinds=("human",))
    files = [{"split": side, "path": f"{side}.parquet"} for side in SIDES if f"{side}.parquet" in corpus.files]
    creators = [name for name, n in (("machine-generated", machine), ("expert-generated", people)) if n]
    more: dict[str, Any] = {"license_name": "terms-of-its-sources", "license_link": f"../../{TERMS}"}
    return DatasetCardData(
        pretty_name=f"what {dossier.name} learned from",
        license="other",
        annotations_creators=creators or None,
        size_categories=[next((told for bound, told in _BOUNDS if corpus.records() < bound), "n>10M")],
        task_categories=["text-generation"],
        tags=["trueseed", "distillation", *(["synthetic"] if machine else [])],
        configs=[{"config_name": "default", "data_files": files}],
        teachers=list(corpus.models),
        identity_filter=bool(corpus.dataset.meta.get("identity_filter")),
        ledger={**dossier.ledger, "dataset": f"dataset:{corpus.dataset.digest}"},
        **more,
    )


def _body(dossier: Dossier, corpus: Corpus) -> Iterator[str]:
    meta = corpus.dataset.meta
    yield f"# What {dossier.name} learned from\n"
    yield f"Made in the project {dossier.project!r}. All of this was counted off its records and read off its ledger.\n"
    yield "| side | who wrote it | how | asked for | terms | records | first asked | last asked |"
    yield "|---|---|---|---|---|---|---|---|"
    for share in corpus.shares:
        document = dossier.documents.get(share.terms)
        terms = f"{document.document}, version {document.version}" if document else "none established"
        yield (
            f"| {share.side} | `{share.source}` | {share.kind} | {share.use or 'not asked'} | {terms} "
            f"| {share.records} | {share.first} | {share.last} |"
        )
    if dropped := meta.get("dropped"):
        yield "\nTaken out before, by reason: " + ", ".join(f"{reason} {n}" for reason, n in dropped.items()) + "."
    if meta.get("identity_filter"):
        yield "\n**Answers that name a model or its maker were taken out, or lost it** (declared identity filter)."
    if meta.get("redacted"):
        yield "\n**Personal data was replaced by pseudonyms**, by patterns; names of people were not looked for."
    yield f"\nWhat the terms of these sources ask of whoever receives it: [{TERMS}](../../{TERMS}).\n"
    yield "Each record says who wrote it, when, upon which request and under which terms, in the column `origin`;"
    yield "`croissant.json` maps that column to PROV-O.\n"
    yield "## What cannot be claimed\n"
    yield "- That the answers are true: they were checked as the recipe says, no further."
    yield "- That no personal data is in it: nobody looked for any unless a step of the ledger says so."
    yield "- That its writers learned from nothing else: of them it is known what they declare, no more.\n"
    yield "## Where this can be checked\n"
    yield (
        f"Ledger `{dossier.ledger['origin']}`, {dossier.ledger['entries']} entries, root `{dossier.ledger['root']}`; "
        f"`dataset:{corpus.dataset.digest}`; Merkle root of the record ids `{meta.get('record_root', 'none')}`."
    )
