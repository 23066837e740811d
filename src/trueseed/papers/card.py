"""The model card, as the Hugging Face hub reads it: front matter for machines, the rest for people.

`base_model_relation` has no word for a model that learned from another's answers, so the teachers stand under a key of
their own, `teachers`. No licence is claimed: what goes along stands in TERMS.md.
"""

from collections.abc import Iterator
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from trueseed.papers.dossier import Dossier
from trueseed.papers.measured import SETS
from trueseed.papers.notices import TERMS
from trueseed.terms.model import Relation

HOW = {
    Relation.OUTPUT: "learned from its words",
    Relation.FILTER: "it decided what was kept",
    Relation.SCORE: "it graded",
    Relation.WEIGHTS: "its weights",
}


def render(dossier: Dossier) -> str:
    """Raises `ValueError` when the hub's own classes do not take it: a bug of ours."""
    content = f"---\n{_front(dossier).to_yaml()}\n---\n\n" + "\n".join(_body(dossier)) + "\n"
    return str(ModelCard(content))


def _front(dossier: Dossier) -> ModelCardData:
    hub = [source.partition("@")[0] for source in dossier.base if _on_hub(source)]
    more: dict[str, Any] = {"base_model_relation": "finetune"} if hub else {}
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        license="other",
        license_name="terms-of-its-sources",
        license_link=TERMS,
        base_model=hub or None,
        tags=["trueseed", "distillation", "synthetic"],
        model_name=dossier.name,
        eval_results=list(_results(dossier)) or None,
        teachers=[label.to_json() for label in dossier.labels],
        identity_filter=dossier.identity_filter,
        ledger={**dossier.ledger, "student": f"weights:{dossier.student.digest}"},
        **more,
    )


def _on_hub(source: str) -> bool:
    return source.endswith("@weights") and not source.startswith(("local/", "own/"))


def _results(dossier: Dossier) -> Iterator[EvalResult]:
    for name, value in (dossier.scores.values["student"] if dossier.scores else {}).items():
        told, metric = SETS[name]
        yield EvalResult(
            task_type="text-generation",
            dataset_type=f"trueseed/{name}",
            dataset_name=f"{told} ({value['n']:.0f} samples)",
            metric_type=metric,
            metric_value=round(value["value"], 4),
        )


def _body(dossier: Dossier) -> Iterator[str]:
    displayed = sorted({duty.value for duty in dossier.obligations if duty.kind == "display" and duty.value})
    yield f"# {dossier.name}\n"
    if dossier.refusals:
        yield "**This model may not be handed out:** " + "; ".join(map(str, dossier.refusals)) + "\n"
    for words in displayed:
        yield f"**{words}**\n"
    yield f"A student grown in the project {dossier.project!r}. Every line here was written from its signed ledger.\n"
    yield from _sources(dossier)
    yield from _training(dossier)
    yield from _measured(dossier)
    yield from _not_claimed()
    yield "## Where this can be checked\n"
    yield (
        f"Ledger `{dossier.ledger['origin']}`, {dossier.ledger['entries']} entries, root `{dossier.ledger['root']}`; "
        f"the student is `weights:{dossier.student.digest}`."
    )


def _sources(dossier: Dossier) -> Iterator[str]:
    yield "## What it came from\n"
    yield "| source | how it reached the model | terms |\n|---|---|---|"
    for label in dossier.labels:
        document = dossier.documents.get(label.terms)
        terms = f"{document.document}, version {document.version} (`{document.id}`)" if document else "none established"
        for text in document.texts if document else ():
            terms += f"; {text.id}: {text.whose}" if text.whose else ""
        yield f"| `{label.source}` | {HOW[label.relation]} | {terms} |"
    if dossier.upstream:
        yield "\nWhat these sources are declared to have learned from themselves:\n"
        for source, teachers in dossier.upstream.items():
            yield from (f"- `{source}`: {teacher}" for teacher in teachers)
    yield f"\nWhat the terms ask of whoever receives it: [{TERMS}]({TERMS}).\n"


def _training(dossier: Dossier) -> Iterator[str]:
    yield "## How it was trained\n"
    counts = dossier.training["counts"]
    for corpus in dossier.corpora:
        learned, validating = corpus.records("train"), corpus.records("validation")
        yield f"- dataset `{corpus.dataset.digest}`: {learned} records to learn from, {validating} to validate"
    yield from (f"- {line}" for line in dossier.learned.lines())
    yield from (f"- {name}: {value:,}" for name, value in sorted(counts.items()))
    yield from (f"- {name}: `{value}`" for name, value in sorted(dossier.training["config"].items()))
    if dossier.identity_filter:
        yield (
            "\n**Answers that name a model or its maker were taken out of its data, or lost it** (declared "
            "identity filter)."
        )
    if dossier.redacted:
        yield "\n**Personal data in its data was replaced by pseudonyms**, by patterns."
    yield ""


def _measured(dossier: Dossier) -> Iterator[str]:
    yield "## Measured\n"
    scores = dossier.scores
    if scores is None:
        yield "Nothing was measured of it.\n"
        return
    sides = list(scores.values)
    yield f"| 95 % intervals | {' | '.join(sides)} | samples |\n|---|{'---|' * len(sides)}---|"
    for name, (told, _) in SETS.items():
        if name in scores.values["student"]:
            cells = [
                f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for v in (scores.values[s][name] for s in sides)
            ]
            yield f"| {told} | {' | '.join(cells)} | {scores.values['student'][name]['n']:.0f} |"
    if scores.withheld:
        yield f"\nThe teacher's numbers are left out: {scores.withheld}"
    yield f"\nFrom `{scores.artifact}`.\n"


def _not_claimed() -> Iterator[str]:
    yield "## What cannot be claimed\n"
    yield "- That nothing else shaped it: a ledger shows that what it says is consistent, not that it is complete."
    yield "- That its sources learned from nothing else: of them it is known what they declare, no more."
    yield "- That it is safe, true or fit for a purpose: nothing was measured beyond the table above."
    yield "- That the terms allow what you want to do: the verdicts are readings of texts, not legal advice.\n"
