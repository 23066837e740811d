"""A teacher is heard about every answer token of a dataset, and what it thinks is kept as signals.

    signals = collect(Distil(loss_top_k=32), dataset, weights, engine, step)
    signals = gathered(Distil(loss_top_k=20), dataset, base, teacher, step)      # of a server, from its kept answers

It reads what the student will read: the records of training and of validation, in the chat format of its own weights,
whole or not at all. What it said of some records is on the disk before the next are read, so a killed step goes on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.durable import folder_atomic
from trueseed.core.records import PARTS, Record, read_parquet
from trueseed.errors import ConfigError
from trueseed.lm.engine import Engine
from trueseed.lm.format import Format
from trueseed.lm.topk import TopK
from trueseed.lm.vocabulary import Vocabulary
from trueseed.teachers.teacher import Teacher
from trueseed.train import signals
from trueseed.train.batches import Example, examples
from trueseed.train.settings import Distil
from trueseed.train.signals import About, Signals
from trueseed.train.told import Spelling, Unlike, Untold
from trueseed.workspace import Step

TOGETHER = 64  # records that a kill may cost; the teacher reads them in batches


def collect(config: Distil, dataset: Artifact, weights: Path, teacher: Engine, step: Step) -> Artifact:
    """weights: the teacher's folder. Raises `ConfigError` for records without an answer token, and when none remains;
    `Refused` when something of this step is recalled meanwhile.
    """
    rows = [row for _, row in _rows(step.read(dataset), teacher.format, config)]
    about = About.teacher(teacher.source, Vocabulary.of(weights, teacher.format), config.loss_top_k, config.tail_draws)
    parts = [step.checkpoint("signals") / f"from-{start:08d}" for start in range(0, len(rows), TOGETHER)]
    for at, part in enumerate(parts):
        some = rows[at * TOGETHER : (at + 1) * TOGETHER]
        if not part.exists():
            step.look_if_grown()
            with folder_atomic(part) as folder:
                signals.write(folder, about, _heard(teacher, some, config, at))
        done = at * TOGETHER + len(some)
        step.progress(done, len(rows), "records", f"top {config.loss_top_k} of {teacher.source}")
    about = signals.together([Signals.open(part).about for part in parts])
    return _written(about, rows, lambda folder: signals.join(folder, parts), step)


def gathered(config: Distil, dataset: Artifact, student: Path, teacher: Teacher, step: Step) -> Artifact:
    """What a server told of each token of its own answers, as far as these are kept, on the ids of the student in the
    folder `student`.

    A record that it told nothing of, or spoke as other tokens than the student reads, is left out, counted and named in
    the signals where `config.incomparable` is `drop`. Raises `ConfigError` for it otherwise, and when none remains.
    """
    if config.tail_draws:
        raise ConfigError(
            f"{teacher.source} tells its most probable tokens and none drawn from the others; set `tail_draws: 0`, or "
            f"distil from weights that run here"
        )
    form = Format(student)
    spelling, pairs = Spelling.of(form), _rows(step.read(dataset), form, config)
    about = About.teacher(teacher.source, Vocabulary.of(student, form), config.loss_top_k)
    left_out: dict[str, Unlike | Untold] = {}

    def told() -> Iterator[Entry]:
        for record, row in pairs:
            try:
                yield row.id, row.tokens, row.mask, _told(record, row, teacher, spelling, config.loss_top_k)
            except (Unlike, Untold) as why:
                if config.incomparable == "refuse":
                    raise ConfigError(_refusal(teacher, row, why)) from why
                left_out[row.id] = why

    whole = step.checkpoint("signals") / "told"
    with folder_atomic(whole) as folder:
        about = signals.write(folder, about, told())
    kept = [row for _, row in pairs if row.id not in left_out]
    if not kept:
        record, why = next(iter(left_out.items()))
        raise ConfigError(
            f"none of the {len(left_out)} records can be compared with what {teacher.source} told of them; of "
            f"{record[:16]}: {why}; learn from its words (`method: sft`)"
        )
    words = {record: type(why).__name__.lower() for record, why in left_out.items()}
    for word, many in sorted(Counter(words.values()).items()):
        step.count(word, many)

    def fill(folder: Path) -> None:
        signals.join(folder, [whole])
        signals.leave_out(folder, words)

    return _written(about, kept, fill, step)


def _told(record: Record, row: Example, teacher: Teacher, spelling: Spelling, k: int) -> TopK:
    answer = teacher.known(record.origin.request) if record.origin.request else None
    if answer is None or not answer.logprobs:
        raise Untold("its answer is not kept, or was asked for without `top_logprobs`")
    ids = [token for token, counts in zip(row.tokens, row.mask, strict=True) if counts]
    return spelling.topk(answer, ids, k=k)


def _refusal(teacher: Teacher, row: Example, why: Unlike | Untold) -> str:
    otherwise = "leave such records out (`incomparable: drop`), or learn from words (`method: sft`)"
    if isinstance(why, Untold):
        return (
            f"{teacher.source} told nothing of record {row.id[:16]}: {why}; ask for the records anew (another `seed`), "
            f"{otherwise}"
        )
    return f"what {teacher.source} told of record {row.id[:16]} cannot be compared: {why}; {otherwise}"


def _written(about: About, rows: Sequence[Example], fill: Callable[[Path], None], step: Step) -> Artifact:
    step.count("records", about.records)
    step.count("tokens", sum(len(row.tokens) for row in rows))
    step.count("targets", about.places)
    step.count("bytes", round(about.bytes_per_token * about.places))
    return step.write("signals", fill, about.to_json())


def _rows(folder: Path, form: Format, config: Distil) -> list[tuple[Record, Example]]:
    """Records of training, then of validation, those that are too long left out."""
    found = []
    for name in PARTS["dataset"]:
        records = {record.id: record for record in read_parquet(folder / f"{name}.parquet")}
        if records:
            kept = examples(records.values(), form, max_length=config.max_length, too_long=config.too_long).kept
            found += [(records[row.id], row) for row in kept]
    return found


Entry = tuple[str, Sequence[int], Sequence[bool], TopK]


def _heard(teacher: Engine, rows: Sequence[Example], config: Distil, seed: int) -> Iterator[Entry]:
    chats = [(list(row.tokens), list(row.mask)) for row in rows]
    found = teacher.topk(chats, config.loss_top_k, draws=config.tail_draws, seed=seed)
    for row, topk in zip(rows, found, strict=True):
        yield row.id, row.tokens, row.mask, topk
