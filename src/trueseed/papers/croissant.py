"""A dataset as Croissant 1.1 (MLCommons), with the provenance of every record.

Each record's origin is an annotation of the record set: columns of the file itself, mapped to PROV-O. So a reader of
the metadata alone can ask of any row who wrote it, when, upon which request, from which records and under which terms.
"""

from typing import Any

from trueseed.papers.corpus import Corpus
from trueseed.papers.dossier import Dossier
from trueseed.papers.notices import TERMS

FILE = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.1"

# The context that the specification recommends (appendix 1), and PROV-O.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

# What the origin of a record says, and what PROV-O and Dublin Core call it.
_PROVENANCE = {
    "source": (
        "prov:wasAttributedTo",
        "sc:Text",
        "Who wrote it: maker/model@route, or own/<name> for a person.",
    ),
    "kind": ("prov:type", "sc:Text", "teacher, human, dataset, or transform of a teacher's answer."),
    "asked_at": ("prov:generatedAtTime", "sc:DateTime", "When it was asked, UTC."),
    "request": ("prov:wasGeneratedBy", "sc:Text", "SHA-256 of the request as it was sent; '' where nothing was asked."),
    "parents": ("prov:wasDerivedFrom", "sc:Text", "Ids of the records that it was made from."),
    "terms": ("dct:license", "sc:Text", "Digest of the terms document in force when it was asked."),
    "use": ("odrl:action", "sc:Text", "The use for which it was asked."),
}


def describe(dossier: Dossier, corpus: Corpus) -> dict[str, Any]:
    """JSON-LD. The files stand beside it when the records are handed out too; their digests are there either way."""
    dataset = corpus.dataset
    sides = [name.removesuffix(".parquet") for name in corpus.files]
    return {
        "@context": {**_CONTEXT, "odrl": "http://www.w3.org/ns/odrl/2/"},
        "@type": "sc:Dataset",
        "@id": f"urn:sha256:{dataset.digest}",
        "conformsTo": VERSION,
        "name": f"{dossier.name}-{dataset.digest[:12]}",
        "description": (
            f"What the model {dossier.name} learned from, in the project {dossier.project!r}: "
            f"{corpus.records():,} records, each with its origin."
        ),
        "url": f"urn:sha256:{dataset.digest}",
        "license": f"../../{TERMS}",
        "creator": {"@type": "sc:Organization", "name": dossier.project},
        "datePublished": dossier.today,
        "dateModified": corpus.last or dossier.today,
        "version": "1.0.0",
        "citeAs": f"dataset:{dataset.digest} in the ledger {dossier.ledger['origin']}",
        "isLiveDataset": False,
        "prov:wasAttributedTo": sorted({share.source for share in corpus.shares}),
        "rai:dataCollectionType": ["Machine-generated"] if corpus.records(kinds=("teacher", "transform")) else [],
        "distribution": [_file(name, *told) for name, told in corpus.files.items()],
        "recordSet": [_record_set(side) for side in sides],
    }


def _file(name: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _record_set(side: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": side,
        "name": side,
        "key": {"@id": f"{side}/id"},
        "field": [
            _field(side, "id", "SHA-256 of the record: its messages, origin and task.", column="id"),
            {
                **_named(side, "messages", "The chat; the answer stands last."),
                "isArray": True,
                "arrayShape": "-1",
                "subField": [
                    _field(side, "messages/role", "system, user or assistant.", column="messages", path="role"),
                    _field(side, "messages/content", "What was said.", column="messages", path="content"),
                ],
            },
            _field(side, "task", "What the recipe asked for, as canonical JSON.", column="task"),
        ],
        "annotation": [
            {
                **_named(side, "origin", "Where this very record came from."),
                "subField": [
                    {
                        **_field(side, f"origin/{name}", told, column="origin", path=name, kind=kind),
                        "equivalentProperty": same,
                        **({"isArray": True, "arrayShape": "-1"} if name == "parents" else {}),
                    }
                    for name, (same, kind, told) in _PROVENANCE.items()
                ],
            }
        ],
    }


def _named(side: str, name: str, told: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{side}/{name}", "name": name.rpartition("/")[2], "description": told}


def _field(side: str, name: str, told: str, *, column: str, path: str = "", kind: str = "sc:Text") -> dict[str, Any]:
    """path: inside a column that holds a structure."""
    source: dict[str, Any] = {"fileObject": {"@id": f"{side}.parquet"}, "extract": {"column": column}}
    if path:
        source["transform"] = {"jsonPath": path}
    return {**_named(side, name, told), "dataType": kind, "source": source}
