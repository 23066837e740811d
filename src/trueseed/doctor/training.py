"""Does a task stand in what the run would train on, as far as that is written down: prompts, and records of others?

The same search as of a score's contamination (`similarity.leaks`), in prompts and in answers. What teachers will answer
is nowhere yet: curation and scores look at that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trueseed.core.plural import form, many
from trueseed.doctor.check import Check, Subject
from trueseed.errors import TrueSeedError
from trueseed.evaluate.task import Task
from trueseed.exchange.seen import Seen
from trueseed.generate import prompts
from trueseed.runfile import RunFile
from trueseed.similarity.held_out import said_in, sample_of
from trueseed.similarity.leaks import Leaks, Said

Named = tuple[str, tuple[Said, ...]]  # where it stands, and its texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """prompts: that records will come from. records: of others. unread: what cannot be read, of which its own checks
    tell why.
    """

    prompts: tuple[Named, ...]
    records: tuple[Named, ...]
    unread: tuple[str, ...]

    def __str__(self) -> str:
        parts = (many(len(self.prompts), "prompt"), many(len(self.records), "imported record"))
        return " and ".join(part for part, found in zip(parts, (self.prompts, self.records), strict=True) if found)


def lessons(file: RunFile, imports: Sequence[Seen]) -> Lessons:
    """imports: of the run file, as they were found."""
    unread = [each.config.file for each in imports if each.looked is None]
    asked: tuple[Named, ...] = ()
    if file.generate:
        try:
            read = prompts.named(file.prompts.file).prompts
            asked = tuple((f"prompt {each.id!r}", (("prompt", each.text),)) for each in read)
        except TrueSeedError:
            unread.insert(0, "the prompts")
    return Lessons(prompts=asked, records=tuple(_records(imports)), unread=tuple(unread))


def _records(imports: Sequence[Seen]) -> Iterator[Named]:
    for each in imports:
        for row in each.looked.rows if each.looked else ():
            yield f"{row.place} of {each.config.file}", tuple(said_in(row.messages))


def checks(subject: Subject, task: Task, found: Lessons) -> Iterator[Check]:
    if found.unread:
        told = f"{', '.join(found.unread)} cannot be read, so nothing was compared with that"
        yield subject.warning("training data", told)
    if not (texts := (*found.prompts, *found.records)):
        return
    met = Leaks(sample_of(each.id, each.to_json()) for each in task.samples).met(texts)
    if not met:
        yield subject.ok("training data", f"none of {found} holds a sample, or nearly does")
        return
    leak, where = next(iter(met.values()))
    yield subject.warning(
        "training data",
        f"{len(met)} of {len(task.samples)} samples {form(len(met), 'stands', 'stand')} in {found}, as the {leak.part} "
        f"of {leak.sample!r} in {where}",
        "take these out: curation leaves records that are nearly a sample out, and scores tell of the others",
    )
