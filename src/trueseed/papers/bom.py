"""The bill of materials of a student: CycloneDX 1.7, the student as a machine-learning model with its card.

Its components are what it came from: every source with how it reached the model and under which text, and every dataset
with its digest. What the ledger does not know is left out, never guessed.
"""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from uuid import UUID

from trueseed.core.canonical import digest
from trueseed.papers.corpus import Corpus
from trueseed.papers.dossier import Dossier, is_model
from trueseed.papers.measured import SETS
from trueseed.papers.notices import TERMS
from trueseed.terms.model import Label, parse_source

FILE = "bom.cdx.json"
OWN = "trueseed"  # prefix of our properties


def describe(dossier: Dossier) -> dict[str, Any]:
    student = _ref(dossier)
    sources = list(_sources(dossier))
    datasets = [_dataset(corpus) for corpus in dossier.corpora]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{_serial(dossier)}",
        "version": 1,
        "metadata": {
            "timestamp": dossier.at,
            "tools": {"components": [{"type": "application", "name": "trueseed", "version": version("trueseed")}]},
            "component": _student(dossier, student),
            "properties": _properties({f"ledger:{name}": value for name, value in dossier.ledger.items()}),
        },
        "components": [*sources, *datasets],
        "dependencies": [
            {"ref": student, "dependsOn": [each["bom-ref"] for each in (*sources, *datasets)]},
            *({"ref": f"dataset:{c.dataset.digest}", "dependsOn": _written_by(c, sources)} for c in dossier.corpora),
        ],
    }


def _serial(dossier: Dossier) -> UUID:
    """The same student at the same place of the ledger has the same number."""
    made = digest({"student": dossier.student.digest, "ledger": dict(dossier.ledger), "name": dossier.name})
    return UUID(bytes=bytes.fromhex(made)[:16], version=4)


def _ref(dossier: Dossier) -> str:
    return f"weights:{dossier.student.digest}"


def _student(dossier: Dossier, ref: str) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": dossier.name,
        "version": dossier.student.digest[:12],
        "hashes": [{"alg": "SHA-256", "content": dossier.student.digest}],
        "licenses": [{"license": {"name": "the terms of its sources", "url": TERMS}}],
        "pedigree": {"notes": "; ".join(_pedigree(dossier))},
        "modelCard": {
            "modelParameters": {
                "task": "text-generation",
                "approach": {"type": "supervised"},
                "datasets": [{"ref": f"dataset:{corpus.dataset.digest}"} for corpus in dossier.corpora],
                "inputs": [{"format": "text"}],
                "outputs": [{"format": "text"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_metrics(dossier))},
            "considerations": {"technicalLimitations": _limits(dossier)},
        },
        "properties": _properties(
            {
                "identity-filter": dossier.identity_filter,
                **{f"training:{name}": value for name, value in dossier.training["config"].items()},
                **{f"training:{name}": value for name, value in dossier.training["counts"].items()},
            }
        ),
    }


def _pedigree(dossier: Dossier) -> Iterator[str]:
    yield f"weights from {', '.join(dossier.base) or 'none'}"
    yield f"learned from answers of {', '.join(dossier.teachers) or 'no model'}"
    for source, teachers in dossier.upstream.items():
        yield f"{source} is declared to have learned from {', '.join(teachers)}"


def _metrics(dossier: Dossier) -> Iterator[dict[str, Any]]:
    for name, found in (dossier.scores.values["student"] if dossier.scores else {}).items():
        yield {
            "type": SETS[name][1],
            "value": str(found["value"]),
            "slice": SETS[name][0],
            "confidenceInterval": {"lowerBound": str(found["low"]), "upperBound": str(found["high"])},
        }


def _limits(dossier: Dossier) -> list[str]:
    measured = "nothing beyond the metrics above was measured" if dossier.scores else "nothing was measured"
    return [f"Whether it is safe, true or fit for a purpose: {measured}."]


def _sources(dossier: Dossier) -> Iterator[dict[str, Any]]:
    by_source: dict[str, list[Label]] = {}
    for label in dossier.labels:
        by_source.setdefault(label.source, []).append(label)
    for name, labels in by_source.items():
        source = parse_source(name)
        yield {
            "type": "machine-learning-model" if is_model(name) else "data",
            "bom-ref": f"source:{name}",
            "group": source.maker,
            "name": source.model,
            "licenses": [{"license": each} for each in _licences(labels, dossier)],
            "properties": _properties(
                {
                    "route": source.route or "own",
                    "relation": ", ".join(sorted({label.relation.value for label in labels})),
                    **{f"terms:{label.relation.value}": label.terms for label in labels if label.terms},
                    **({"terms-not-as-shipped": own} if (own := _own(labels, dossier)) else {}),
                    **({"upstream": "; ".join(dossier.upstream[name])} if name in dossier.upstream else {}),
                }
            ),
        }


def _own(labels: list[Label], dossier: Dossier) -> str:
    """Which of the texts are the operator's own, or a provider's letter."""
    texts = (text for label in labels if (d := dossier.documents.get(label.terms)) for text in d.texts)
    return "; ".join(sorted({f"{text.id}: {text.whose}" for text in texts if text.whose}))


def _licences(labels: list[Label], dossier: Dossier) -> Iterator[dict[str, Any]]:
    """The texts, as the catalog names them; one that none was established for has none."""
    documents = {d.id: d for label in labels if (d := dossier.documents.get(label.terms))}
    for document in documents.values():
        address = {"url": document.url} if document.url else {}
        yield {"name": f"{document.document}, version {document.version}", **address}


def _dataset(corpus: Corpus) -> dict[str, Any]:
    dataset = corpus.dataset
    told = {f"records:{side}": corpus.records(side) for side in sorted({share.side for share in corpus.shares})}
    ref = f"dataset:{dataset.digest}"
    return {
        "type": "data",
        "bom-ref": ref,
        "name": dataset.digest[:12],
        "hashes": [{"alg": "SHA-256", "content": dataset.digest}],
        "data": [{"type": "dataset", "name": dataset.digest[:12], "contents": {"properties": _properties(told)}}],
        "properties": _properties({"record-root": dataset.meta.get("record_root", "")}),
    }


def _written_by(corpus: Corpus, sources: list[dict[str, Any]]) -> list[str]:
    known = {each["bom-ref"] for each in sources}
    return sorted({f"source:{share.source}" for share in corpus.shares} & known)


def _properties(values: dict[str, Any]) -> list[dict[str, str]]:
    """Text as it is, all else as JSON; without what is not known."""
    return [
        {"name": f"{OWN}:{name}", "value": value if isinstance(value, str) else json.dumps(value, sort_keys=True)}
        for name, value in sorted(values.items())
        if value not in ("", None)
    ]
