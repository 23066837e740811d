"""What a model answered once, as somebody wrote it down; which files of it are read says `formats.reading`.

    kept = freeze(outputs, step)              # a `records` artifact, held out; `thaw` reads it back

They have an origin of their own: whose model spoke (`maker/model@route`), who wrote it down, and when. Terms apply to
them as to any source. Two models' answers are paired by id.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Message, Request, user
from trueseed.core.records import RECORDS_FILE, Record, read_parquet, record_root, write_parquet
from trueseed.errors import ConfigError
from trueseed.terms.model import Relation, parse_source
from trueseed.workspace import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One answer. id: of the prompt, the same for every model that was asked it. follows: the output before which this
    was said in the same chat; '' where it begins.
    """

    id: str
    instruction: str
    output: str
    dataset: str = ""
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """source: whose model spoke, as terms know it (`openai/gpt-3.5-turbo-0613@api`). maker: who wrote the file down,
    as `maker/name@dataset`, or `own/<name>`. on: the day on which the model answered, YYYY-MM-DD, where it is known.
    """

    source: str
    maker: str
    on: str = ""

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what is no source."""
        parse_source(self.source)
        parse_source(self.maker)

    @property
    def brings(self) -> dict[str, Relation]:
        """As a step that takes the answers in names them: the terms of both apply."""
        return dict.fromkeys((self.source, self.maker), Relation.OUTPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The answers of one model, in the order of the file. generator: its name as the file has it. format: of the
    file.
    """

    generator: str
    origin: Recorded
    rows: tuple[Output, ...]
    format: str = ""

    @property
    def digest(self) -> str:
        return digest([self.generator, asdict(self.origin), [asdict(row) for row in self.rows]])

    def by_id(self) -> dict[str, Output]:
        return {row.id: row for row in self.rows}

    def chat(self, row: Output) -> tuple[Message, ...]:
        """What was said before, and the question. Raises `ConfigError` where an answer to that is missing."""
        before: tuple[Message, ...] = ()
        if row.follows:
            [earlier] = self.on([row.follows])
            before = (*self.chat(earlier), Message("assistant", earlier.output))
        return (*before, *user(row.instruction))

    def on(self, ids: Sequence[str]) -> tuple[Output, ...]:
        """The answers to these prompts, in this order. Raises `ConfigError` naming those that are missing."""
        here = self.by_id()
        if missing := [each for each in ids if each not in here]:
            raise ConfigError(
                f"{self.generator} did not answer {len(missing)} of {len(ids)} prompts, {missing[0]!r} for instance; "
                f"take outputs to the same prompts, or a task of those that all answered"
            )
        return tuple(here[each] for each in ids)


def freeze(outputs: Outputs, step: Step) -> Artifact:
    """As records, of which the door lets nobody train: the step that brings them says that they are held out."""
    own = step.origin(source=outputs.origin.source)
    rows = [
        Record(
            messages=(*outputs.chat(row), Message("assistant", row.output)),
            origin=own,
            task={"id": row.id, "prompt": row.instruction, "dataset": row.dataset, **_after(row)},
        )
        for row in outputs.rows
    ]
    said = {"generator": outputs.generator, "format": outputs.format, **asdict(outputs.origin)}
    meta = {"held_out": True, "records": len(rows), "record_root": record_root(row.id for row in rows), "outputs": said}

    def fill(folder: Path) -> None:
        write_parquet(rows, folder / RECORDS_FILE)

    return step.write("records", fill, meta)


def _after(row: Output) -> dict[str, str]:
    return {"follows": row.follows} if row.follows else {}


def thaw(artifact: Artifact) -> Outputs:
    """Raises `ConfigError` for records that are no outputs."""
    if "outputs" not in artifact.meta:
        raise ConfigError(f"{artifact} holds no recorded outputs of a model")
    said = dict(artifact.meta["outputs"])
    rows = tuple(
        Output(
            id=record.task["id"],
            instruction=record.task["prompt"],
            output=record.answer,
            dataset=record.task["dataset"],
            follows=record.task.get("follows", ""),
        )
        for record in read_parquet(artifact.path(RECORDS_FILE))
    )
    generator, format = said.pop("generator"), said.pop("format", "")
    return Outputs(generator=generator, origin=Recorded(**said), rows=rows, format=format)


class Replayed:
    """A `ChatModel` that says again what was written down, to the same chats, and to no others."""

    def __init__(self, outputs: Outputs) -> None:
        """Raises `ConfigError` for two answers to one chat, of which none is the one that counts."""
        self.source = outputs.origin.source
        self._name = outputs.generator
        self._said: dict[tuple[str, ...], str] = {}
        for row in outputs.rows:
            chat = _words(outputs.chat(row))
            if self._said.setdefault(chat, row.output) != row.output:
                raise ConfigError(
                    f"{self._name} answered {chat[-1][:60]!r} in two ways, the second time as {row.id!r}; keep the one "
                    f"that is to count"
                )

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """Raises `ConfigError` for prompts that were not asked, before any answer."""
        asked = [_asked(request) for request in requests if request is not None]
        if missing := [chat for chat in asked if chat not in self._said]:
            raise ConfigError(
                f"{self._name} did not answer {len(missing)} of {len(asked)} prompts, {missing[0][-1][:60]!r} among "
                f"them; what it was asked must be the prompt of the task, to the letter, with all that came before it"
            )
        for position, chat in enumerate(asked):
            yield position, self._answer(chat)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        for _, answer in self.answers([request]):
            yield answer.text
            yield answer

    def _answer(self, chat: tuple[str, ...]) -> Answer:
        return Answer(text=self._said[chat], finish="stop", prompt_tokens=0, completion_tokens=0)


def _asked(request: Request) -> tuple[str, ...]:
    return _words(request.messages) if request.continues is None else (str(request.continues),)


def _words(chat: Iterable[Message]) -> tuple[str, ...]:
    return tuple(message.content for message in chat)
