"""A teacher is heard about every answer token of a dataset, and what it thinks is kept as signals.

    signals = collect(Distil(loss_top_k=32), dataset, engine, step)

It reads what the student will read: the records of training and of validation, in the chat format of its own weights,
whole or not at all. What it said of some records is on the disk before the next are read, so a killed step goes on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.durable import folder_atomic
from trueseed.core.records import PARTS, read_parquet
from trueseed.lm.engine import Engine
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import Vocabulary
from trueseed.train import signals
from trueseed.train.batches import Example, examples
from trueseed.train.settings import Distil
from trueseed.train.signals import About, Signals
from trueseed.workspace import Step

TOGETHER = 64  # records that a kill may cost; the teacher reads them in batches


def collect(config: Distil, dataset: Artifact, weights: Path, teacher: Engine, step: Step) -> Artifact:
    """weights: the teacher's folder. Raises `ConfigError` for records without an answer token, and when none remains;
    `Refused` when something of this step is recalled meanwhile.
    """
    rows = [row for name in PARTS["dataset"] for row in _rows(step.read(dataset) / f"{name}.parquet", teacher, config)]
    about = About.teacher(teacher.source, Vocabulary.of(weights, teacher.format), config.loss_top_k)
    parts = [step.checkpoint("signals") / f"from-{start:08d}" for start in range(0, len(rows), TOGETHER)]
    for at, part in enumerate(parts):
        some = rows[at * TOGETHER : (at + 1) * TOGETHER]
        if not part.exists():
            step.look_if_grown()
            with folder_atomic(part) as folder:
                signals.write(folder, about, _heard(teacher, some, config.loss_top_k))
        done = at * TOGETHER + len(some)
        step.progress(done, len(rows), "records", f"top {config.loss_top_k} of {teacher.source}")
    about = signals.together([Signals.open(part).about for part in parts])
    step.count("records", about.records)
    step.count("tokens", sum(len(row.tokens) for row in rows))
    step.count("targets", about.places)
    step.count("bytes", round(about.bytes_per_token * about.places))
    return step.write("signals", lambda folder: signals.join(folder, parts), about.to_json())


def _rows(path: Path, teacher: Engine, config: Distil) -> Sequence[Example]:
    records = list(read_parquet(path))
    return (
        examples(records, teacher.format, max_length=config.max_length, too_long=config.too_long).kept
        if records
        else ()
    )


Entry = tuple[str, Sequence[int], Sequence[bool], TopK]


def _heard(teacher: Engine, rows: Sequence[Example], k: int) -> Iterator[Entry]:
    found = teacher.topk([(list(row.tokens), list(row.mask)) for row in rows], k)
    for row, topk in zip(rows, found, strict=True):
        yield row.id, row.tokens, row.mask, topk
