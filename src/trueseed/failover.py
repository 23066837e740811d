"""Several teachers in order: who is asked, when the next one is, and what each gave.

A teacher's part is a step of its own, so that labels are exact. When the teacher or its maker comes to an end (a hold,
a region that is not served, a quota or an allowance used up, a server that stays broken), the step closes with what it
has and says so, and the next step asks another maker for what is missing. Who was left is not come back to. Mistakes of
the user's, a refusal by the terms, and Ctrl-C end the run as they would with one teacher (docs/adr/0006-failover.md).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from trueseed.asking import verdicts
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import ChatModel
from trueseed.errors import Refused, Short, TrueSeedError
from trueseed.evaluate import measure
from trueseed.generate import verifiable
from trueseed.runfile import RunFile
from trueseed.teachers.account.limits import Exhausted
from trueseed.teachers.api.endings import Gone
from trueseed.teachers.bound import bound
from trueseed.teachers.voice import Voice
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Use
from trueseed.workspace import Workspace

Hearing = Callable[[ChatModel], ChatModel]  # what a teacher's answers go through on their way to the records


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one teacher gave. left: why there was no more of it; '' when there was as much as was wanted."""

    source: str
    records: Artifact
    left: str

    @property
    def accepted(self) -> int:
        return int(self.records.meta["records"])


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The scores of one teacher's own answers."""

    source: str
    scores: Artifact


def must_be_permitted(
    sources: Iterable[str],
    catalog: Catalog,
    facts: Facts,
    today: date,
    features: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Raises `Refused` for the first that the terms would not let us ask when its turn comes: before anything is spent,
    and rather than pass it over then.
    """
    for source in sources:
        for verdict in verdicts(source, catalog, facts, today, features.get(source, ())):
            if not verdict.permitted:
                raise Refused(f"`failover` names a teacher that may not be asked: {verdict}")


def without(file: RunFile, first: int) -> RunFile:
    """What `file` comes to when so many of its first teachers give nothing: who is asked then, and for what."""
    if not first:
        return file
    config = _config(file)
    generate = config.model_copy(update={"seed": config.seed + first})  # as `_missing` says
    return file.taught_by(file.teachers[first:], generate)


def _config(file: RunFile) -> verifiable.Config:
    if file.generate is None:
        raise AssertionError("a run on imported records alone has no teachers")
    return file.generate


def generate(
    file: RunFile,
    workspace: Workspace,
    prompts: Artifact,
    voices: Sequence[Voice],
    kept: Sequence[Part] = (),
    hearing: Hearing = lambda teacher: teacher,
) -> tuple[Part, ...]:
    """Records of as many teachers as it takes, `file.generate.accept` of them in all. kept: parts of an earlier run
    that go on, and count. Raises what the last one ends with, what `hearing` refuses, and `Short`.
    """
    parts, config = list(kept), _config(file)
    while sum(part.accepted for part in parts) < config.accept:
        turn = len(parts) - len(kept)
        voice = voices[min(turn, len(voices) - 1)]  # the run file may have lost teachers since
        following = voices[turn + 1] if turn + 1 < len(voices) else None
        parts.append(_part(file, _missing(config, parts), workspace, prompts, (voice, following), hearing))
    return tuple(parts)


def baseline(
    file: RunFile,
    workspace: Workspace,
    held_out: Artifact,
    voices: Sequence[Voice],
    parts: Sequence[Part],
    without: Sequence[int] = (),
) -> Baseline:
    """Of the teacher that most records are from; when it may or can not be asked any more, of the next. Always whole,
    of one teacher. without: the recalls, by entry, after which it is measured anew. Raises what the last one ends with.
    """
    given: Counter[str] = Counter()
    for part in parts:
        given[part.source] += part.accepted
    order = sorted((voice for voice in voices if given[voice.source]), key=lambda voice: -given[voice.source])
    for voice, following in zip(order, [*order[1:], None], strict=True):
        try:
            return Baseline(source=voice.source, scores=_baseline(file, workspace, held_out, voice, without))
        except TrueSeedError as ending:
            if not _moves_on(ending, following, Use.BENCHMARK_TEACHER, workspace.project):
                raise
    raise AssertionError("a part without records is not the last one")


def _missing(config: verifiable.Config, parts: Sequence[Part]) -> verifiable.Config:
    """What the next teacher is asked for. Another seed: another teacher's tasks are not asked a second time."""
    if not parts:
        return config
    changes = {"accept": config.accept - sum(part.accepted for part in parts), "seed": config.seed + len(parts)}
    if config.asked_at_most is not None:
        asked = sum(part.accepted + int(part.records.meta["rejected"]) for part in parts)
        changes["asked_at_most"] = config.asked_at_most - asked
        if changes["asked_at_most"] <= 0:
            raise Short(
                f"{changes['accept']} of {config.accept} records are missing after {asked} answers, and "
                f"`asked_at_most` allows no more; raise it"
            )
    return config.model_copy(update=changes)


def _part(
    file: RunFile,
    config: verifiable.Config,
    workspace: Workspace,
    prompts: Artifact,
    turns: tuple[Voice, Voice | None],
    hearing: Hearing,
) -> Part:
    """turns: who is asked, and who would be asked next. config: what of `file.generate` is missing."""
    voice, following = turns

    def leave(ending: TrueSeedError) -> bool:
        return _moves_on(ending, following, Use.TRAIN, workspace.project)

    ask, said = {voice.source: Use.TRAIN}, {**config.model_dump(), **voice.identity}
    features = file.features_of(voice.source)
    with workspace.step("generate", inputs=[prompts], ask=ask, config=said, features=features) as step:
        records = step.earlier("records")
        if records is None:
            with bound(voice, step, cache=file.cache) as teacher:
                records = verifiable.generate(config, prompts, hearing(teacher), step, leave=leave)
    return Part(source=voice.source, records=records, left=str(records.meta.get("left", "")))


def _baseline(
    file: RunFile, workspace: Workspace, held_out: Artifact, voice: Voice, without: Sequence[int]
) -> Artifact:
    ask, config = {voice.source: Use.BENCHMARK_TEACHER}, {**file.evaluate.model_dump(), **voice.identity}
    config |= {"without": list(without)} if without else {}
    features = file.features_of(voice.source)
    with workspace.step("baseline", inputs=[held_out], ask=ask, config=config, features=features) as step:
        if earlier := step.earlier("scores"):
            return earlier
        with bound(voice, step, cache=file.cache) as teacher:
            return measure.baseline(file.evaluate, held_out, teacher, voice.scorer, step)


def _moves_on(ending: TrueSeedError, following: Voice | None, use: Use, project: str) -> bool:
    """Whether it is the teacher's or the maker's end, and the next one is not bound by the same."""
    if following is None:
        return False
    if isinstance(ending, Exhausted):
        return not ending.limit.matches(following.source, use, project)
    return isinstance(ending, Gone)
