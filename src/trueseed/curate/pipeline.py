"""The order of the concerns, and the dataset they leave.

    dataset = curate(Config(), [records], [held_out], step)

A record goes for the first reason found. What stays and what goes are both stored: train.parquet, validation.parquet,
and dropped.parquet with dropped.jsonl ({"id", "reason", "detail"}, line by line); together they are the input.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from trueseed.core.artifacts import Artifact
from trueseed.core.prompts import texts
from trueseed.core.records import RECORDS_FILE, Record, read_parquet, record_root, write_parquet
from trueseed.core.settings import Settings
from trueseed.curate.balance import balance
from trueseed.curate.drop import Concern, Drop
from trueseed.curate.duplicates import duplicates
from trueseed.curate.identity import identity
from trueseed.curate.overlap import overlap, repeated
from trueseed.curate.quality import Config as Quality
from trueseed.curate.quality import quality
from trueseed.curate.redact import Config as Redaction
from trueseed.curate.redact import Redactor
from trueseed.curate.split import split
from trueseed.errors import ConfigError
from trueseed.similarity.held_out import HeldOut

if TYPE_CHECKING:
    from trueseed.workspace import Step


class Config(Settings):
    """near_duplicate: resemblance of answers from which the later one goes. overlap_words: in a row, shared with an
    evaluation prompt. balance: a kind keeps at most so many times the median. identity_filter: declare that answers
    naming a model or maker are taken out. redact: replace personal data by pseudonyms, before all else. validation:
    share of the records. seed: of balance and split.
    """

    quality: Quality = Quality()
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    overlap_words: int = Field(default=8, ge=2)
    balance: float = Field(default=2.0, gt=0)
    identity_filter: bool = False
    redact: Redaction | None = None
    validation: float = Field(default=0.05, ge=0, lt=1)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """kept and dropped, each in the order of the input; together they are the input."""

    kept: tuple[Record, ...]
    dropped: tuple[tuple[Record, Drop], ...]


def curate(
    config: Config,
    records: Sequence[Artifact],
    held_out: Sequence[Artifact],
    step: "Step",
    of_workspace: HeldOut | None = None,
) -> Artifact:
    """A `dataset` artifact of all `records`, one artifact after the other. of_workspace: all else that is held out
    (`Workspace.held_out`), which the door lets nobody train on.

    Raises `ConfigError` when nothing is left to train on.
    """
    found = [record for each in records for record in read_parquet(step.read(each) / RECORDS_FILE)]
    if config.redact:
        found = Redactor(config.redact).records(found, step)
    prompts = [text for artifact in held_out for text in _texts(artifact, step)]
    sifted = sift(found, concerns(config, prompts, of_workspace))
    reasons = Counter(drop.reason for _, drop in sifted.dropped)
    for reason, count in sorted(reasons.items()):
        step.count(f"dropped:{reason}", count)
    step.count("kept", len(sifted.kept))
    if not sifted.kept:
        raise ConfigError(f"all {len(found)} records were dropped ({dict(reasons)}); loosen `curate` or generate more")
    train, validation = split(config.validation, config.seed, sifted.kept)

    def fill(folder: Path) -> None:
        write_parquet(train, folder / "train.parquet")
        write_parquet(validation, folder / "validation.parquet")
        write_parquet((record for record, _ in sifted.dropped), folder / "dropped.parquet")
        (folder / "dropped.jsonl").write_text("".join(_lines(sifted.dropped)), encoding="utf-8")

    meta = {
        "train": len(train),
        "validation": len(validation),
        "dropped": dict(sorted(reasons.items())),
        "record_root": record_root(record.id for record in (*train, *validation)),
        "identity_filter": config.identity_filter or any(each.meta.get("identity_filter") for each in records),
        **({"redacted": True} if config.redact else {}),
    }
    return step.write("dataset", fill, meta)


def concerns(config: Config, held_out: Sequence[str], of_workspace: HeldOut | None = None) -> list[Concern]:
    """In order: what is wrong in itself, what was said before, what was held out, and last what is too much."""
    found: list[Concern] = [partial(quality, config.quality)]
    if config.identity_filter:
        found.append(identity)
    return [
        *found,
        partial(duplicates, config.near_duplicate),
        partial(overlap, held_out, config.overlap_words),
        *([partial(repeated, of_workspace)] if of_workspace else ()),
        partial(balance, config.balance, config.seed),
    ]


def sift(records: Sequence[Record], concerns: Sequence[Concern]) -> Sifted:
    """Each concern sees what the ones before it left."""
    drops: dict[int, Drop] = {}
    left = list(range(len(records)))
    for concern in concerns:
        for place, drop in zip(left, concern([records[place] for place in left]), strict=True):
            if drop:
                drops[place] = drop
        left = [place for place in left if place not in drops]
    return Sifted(
        kept=tuple(records[place] for place in left),
        dropped=tuple((records[place], drops[place]) for place in sorted(drops)),
    )


def _texts(artifact: Artifact, step: "Step") -> list[str]:
    step.read(artifact)
    found = list(texts(artifact))
    if not found:
        raise ConfigError(f"{artifact} holds no prompts to keep out of the dataset; give a prompts artifact")
    return found


def _lines(dropped: Sequence[tuple[Record, Drop]]) -> Iterator[str]:
    for record, drop in dropped:
        yield json.dumps({"id": record.id, "reason": drop.reason, "detail": drop.detail}, ensure_ascii=False) + "\n"
