"""Recipe: rewriting and translation. A model says records anew; what they were made of stays written on them.

    made = rewrite(Config(translate="German"), records, teacher, step)

A rewritten record is its answer in other words; a translated one is every message in another language, each asked for
by itself. The step carries the labels of the records and that of the model. A record keeps its parent, and `made_of`
in its task names every source before the model's own. One that comes back cut, empty, as an echo of what was asked, no
longer sound, wrong by its own constraints, or without the name of the maker that it gave away before, is put beside the
others with the reason: what a model says of itself goes only by a declared identity filter.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from trueseed.checks import Task, unsound
from trueseed.checks.whose import introduces, makers, names_its_maker
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, ChatModel, Message, Request, user
from trueseed.core.records import MADE_OF, PARTS, Record, read_parquet, record_root, write_parquet
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError, Short
from trueseed.generate.in_order import ask_in_order
from trueseed.generate.verifiable import REJECTED_FILE, Sampling

if TYPE_CHECKING:
    from trueseed.workspace import Step

Verb = Literal["rewrite", "translate"]
REWRITE = (
    "{instruction}\n\nThe question was:\n{question}\n\nThe answer to rewrite:\n{text}\n\n"
    "Write the new answer, and nothing else."
)
TRANSLATE = (
    "Translate this text into {language}. Leave code, numbers and names as they are. Write the translation, and "
    "nothing else.\n\n{text}"
)
ECHOES = ("The question was:", "The answer to rewrite:", "Write the new answer", "Translate this text into",
          "Write the translation")  # fmt: skip
DONE: Mapping[Verb, str] = {"rewrite": "rewritten", "translate": "translated"}


class Config(Settings):
    """One of two. rewrite: what to do with each answer, in words. translate: the language to put each message into.

    keep: the records as they were stay beside the new ones. identity_filter: declare that a new record may lack the
    name of a model or maker that the old one gave away. sampling: of the model's words. ahead: requests outstanding.
    """

    rewrite: str | None = Field(default=None, min_length=1)
    translate: str | None = Field(default=None, min_length=1)
    keep: bool = False
    identity_filter: bool = False
    sampling: Sampling = Sampling(temperature=0.3, top_p=0.95, max_tokens=512)
    ahead: int = Field(default=160, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _one_of_two(self) -> "Config":
        if (self.rewrite is None) == (self.translate is None):
            raise ValueError("give either `rewrite` (what to do, in words) or `translate` (a language)")
        return self

    @property
    def verb(self) -> Verb:
        """Name of the step."""
        return "translate" if self.translate else "rewrite"


def rewrite(config: Config, artifact: Artifact, teacher: ChatModel, step: "Step") -> Artifact:
    """The artifact again, its records said anew; rejected.parquet holds those that were not, with the reason.

    Raises what the teacher raises, `ConfigError` when the artifact holds no records, and `Short` when none was left.
    """
    must_hold_records(artifact)
    folder = step.read(artifact)
    given = {part: tuple(read_parquet(folder / f"{part}.parquet")) for part in PARTS[artifact.kind]}
    recipe = _Recipe(config, [record for records in given.values() for record in records], teacher.source, step)
    ask_in_order(teacher, recipe.want, recipe.take, ahead=config.ahead)
    if not recipe.made:
        why = ", ".join(f"{reason} {n}" for reason, n in recipe.reasons.most_common(3)) or "there are none"
        raise Short(f"none of {len(recipe.records)} records could be {DONE[config.verb]} ({why}); ask another model")
    return recipe.write(artifact, given)


def must_hold_records(artifact: Artifact) -> None:
    """Raises `ConfigError`."""
    if artifact.kind not in PARTS:
        raise ConfigError(f"{artifact} holds no records; `trueseed records list` names those that do")


@dataclass(slots=True)
class _Anew:
    """A record on its way. texts: what came back so far, by position of its message; requests: their digests."""

    record: Record
    left: int
    texts: dict[int, str] = field(default_factory=dict)
    requests: dict[int, str] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


class _Recipe:
    """`want` and `take` are called in the order of the records, whatever the order in which answers arrive."""

    def __init__(self, config: Config, records: Sequence[Record], source: str, step: "Step") -> None:
        self.config, self.records, self.source, self.step = config, records, source, step
        self.made: dict[str, Record] = {}  # by id of what it was made of
        self.rejected: list[Record] = []
        self.reasons: Counter[str] = Counter()
        self._pieces = self._all()
        self._outstanding: deque[tuple[_Anew, int]] = deque()
        self._next = next(self._pieces, None)
        self._done = 0

    def _all(self) -> Iterator[tuple[_Anew, int]]:
        for record in self.records:
            last = len(record.messages) - 1
            spoken = [i for i, message in enumerate(record.messages) if message.content.strip()]
            places = [last] if self.config.rewrite else sorted({*spoken, last})
            anew = _Anew(record, len(places))
            yield from ((anew, place) for place in places)

    def want(self) -> Request | None:
        if self._next is None:
            return None
        anew, place = self._next
        self._outstanding.append(self._next)
        self._next = next(self._pieces, None)
        sampling = self.config.sampling
        request = Request(
            messages=user(self._question(anew.record, place)),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=int(digest([self.config.seed, anew.record.id, place])[:8], 16),
        )
        anew.requests[place] = digest(request.to_json())
        return request

    def _question(self, record: Record, place: int) -> str:
        text = record.messages[place].content
        if self.config.translate:
            return TRANSLATE.format(language=self.config.translate, text=text)
        asked = next((each.content for each in reversed(record.messages) if each.role == "user"), "")
        return REWRITE.format(instruction=self.config.rewrite, question=asked, text=text)

    def take(self, answer: Answer) -> None:
        anew, place = self._outstanding.popleft()
        anew.left -= 1
        anew.texts[place] = answer.text.strip()
        if answer.finish == "skipped":
            anew.reason, anew.detail = "skipped", answer.because
        elif answer.finish == "length":
            anew.reason, anew.detail = "cut", f"it was cut after {answer.completion_tokens} tokens"
        elif not anew.texts[place]:
            anew.reason, anew.detail = "empty", "nothing came back"
        if not anew.left:
            self._judge(anew)
            self._done += 1
            self.step.progress(self._done, len(self.records), "records", f"{len(self.rejected)} rejected")

    def _judge(self, anew: _Anew) -> None:
        old, new = anew.record, self._record(anew)
        if not anew.reason:
            anew.reason, anew.detail = _wrong(old, new, self.config)
        if not anew.reason:
            self.made[old.id] = new
            self.step.count("accepted")
            return
        task = {**new.task, "reason": anew.reason, "faults": {anew.reason: anew.detail}}
        self.rejected.append(Record(messages=new.messages, origin=new.origin, task=task))
        self.reasons[anew.reason] += 1
        self.step.count(f"rejected:{anew.reason}")

    def _record(self, anew: _Anew) -> Record:
        old, places = anew.record, sorted(anew.requests)
        messages = tuple(
            Message(message.role, anew.texts.get(i, message.content)) for i, message in enumerate(old.messages)
        )
        origin = self.step.origin(
            source=self.source, request=anew.requests[places[-1]], parents=(old.id,), transformed=True
        )
        further = {"requests": [anew.requests[place] for place in places]} if len(places) > 1 else {}
        task = {**old.task, "recipe": self.config.verb, MADE_OF: made_of(old), **further}
        return Record(messages=messages, origin=origin, task=task)

    def write(self, artifact: Artifact, given: Mapping[str, Sequence[Record]]) -> Artifact:
        parts = {part: list(self._part(records)) for part, records in given.items()}

        def fill(at: Path) -> None:
            for part, records in parts.items():
                write_parquet(records, at / f"{part}.parquet")
            write_parquet(self.rejected, at / REJECTED_FILE)

        ids = (record.id for records in parts.values() for record in records)
        meta = {
            **{part: len(records) for part, records in parts.items()},
            "recipe": self.config.verb,
            "rejected": len(self.rejected),
            "record_root": record_root(ids),
            **({"identity_filter": True} if self.config.identity_filter else {}),
        }
        return self.step.write(artifact.kind, fill, meta)

    def _part(self, records: Sequence[Record]) -> Iterator[Record]:
        for record in records:
            if self.config.keep:
                yield record
            if record.id in self.made:
                yield self.made[record.id]


def made_of(record: Record) -> list[dict[str, Any]]:
    """Source and terms of all that a record is made of, its own last, each once."""
    before = [dict(each) for each in record.task.get(MADE_OF, ())]
    own = {"source": record.origin.source, "terms": record.origin.terms}
    return before if own in before else [*before, own]


def _wrong(old: Record, new: Record, config: Config) -> tuple[str, str]:
    """A reason why the new record is not kept, and more of it in words; ('', '') when it is."""
    lost = identity_lost(old.answer, new.answer)
    if lost and not config.identity_filter:
        return "identity", f"it no longer says {lost!r}; declare `identity_filter` if that is meant"
    before, after = ("\n".join(message.content for message in each.messages) for each in (old, new))
    if echoed := next((words for words in ECHOES if words in after and words not in before), ""):
        return "copied", f"it repeats what it was asked: {echoed!r}"
    if config.rewrite and (why := _no_longer_sound(old, new)):  # what is sound is told by words between blanks
        return "unsound", why
    if "constraints" in new.task and (faults := Task.from_json(new.task).faults(new.answer)):
        return "wrong", "; ".join(faults.values())
    return "", ""


def _no_longer_sound(old: Record, new: Record) -> str:
    asked = next((each.content for each in reversed(new.messages) if each.role == "user"), "")
    return "" if unsound(old.answer, asked) else unsound(new.answer, asked)


def identity_lost(before: str, after: str) -> str:
    """Makers that an answer which speaks of itself as a model named before, and names no more; '' for none."""
    if not (names_its_maker(before) or introduces(before)):
        return ""
    return ", ".join(sorted(makers(before) - makers(after)))
