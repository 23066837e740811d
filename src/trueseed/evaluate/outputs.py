"""What a model answered once, as somebody wrote it down: AlpacaEval's format, in and out.

    found = read(Path("text_davinci_003.json"), origin)       # a JSON list, or JSON lines
    write(Path("student.json"), found)
    kept = freeze(found, step)                                # a `records` artifact, held out; `thaw` reads it back

    {"instruction": "…", "output": "…", "generator": "text_davinci_003", "dataset": "helpful_base"}

They have an origin of their own: whose model spoke (`maker/model@route`), who wrote it down, and when. Terms apply to
them as to any source. Two models' answers are paired by id: a member `id`, else the digest of instruction and dataset.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Message, Request, user
from trueseed.core.durable import write_atomic
from trueseed.core.records import RECORDS_FILE, Record, read_parquet, record_root, write_parquet
from trueseed.errors import ConfigError
from trueseed.evaluate.lines import json_lines, told
from trueseed.terms.model import Relation, parse_source
from trueseed.workspace import Step

_KNOWN = ("id", "instruction", "output", "generator", "dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One answer. id: of the prompt, the same for every model that was asked it."""

    id: str
    instruction: str
    output: str
    dataset: str = ""


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
    """The answers of one model, in the order of the file. generator: its name as the file has it."""

    generator: str
    origin: Recorded
    rows: tuple[Output, ...]

    @property
    def digest(self) -> str:
        return digest([self.generator, asdict(self.origin), [asdict(row) for row in self.rows]])

    def by_id(self) -> dict[str, Output]:
        return {row.id: row for row in self.rows}

    def on(self, ids: Sequence[str]) -> tuple[Output, ...]:
        """The answers to these prompts, in this order. Raises `ConfigError` naming those that are missing."""
        here = self.by_id()
        if missing := [each for each in ids if each not in here]:
            raise ConfigError(
                f"{self.generator} did not answer {len(missing)} of {len(ids)} prompts, {missing[0]!r} for instance; "
                f"take outputs to the same prompts, or a task of those that all answered"
            )
        return tuple(here[each] for each in ids)


def read(path: Path, origin: Recorded) -> Outputs:
    """Raises `ConfigError` naming every row (up to ten) that is wrong or comes twice, for several generators in one
    file, and for none.
    """
    found: dict[str, Output] = {}
    generators: set[str] = set()
    wrong: list[str] = []
    for number, row in _rows(path):
        try:
            output = _output(row)
            if output.id in found:
                raise ValueError(
                    f"{output.id[:16]!r} ({output.instruction[:40]!r}) was answered before; give each row an `id`"
                )
        except ValueError as err:
            wrong.append(f"row {number}: {err}")
            continue
        found[output.id] = output
        generators.add(str(row.get("generator") or path.stem))
    if wrong:
        raise told(wrong, f"{str(path)!r} does not hold outputs")
    if len(generators) != 1:
        raise ConfigError(f"{str(path)!r} holds the outputs of {len(generators)} generators; one file is one model's")
    return Outputs(generator=generators.pop(), origin=origin, rows=tuple(found.values()))


def write(path: Path, outputs: Outputs) -> None:
    """A JSON list, as alpaca_eval reads it."""
    rows = [
        {
            "instruction": row.instruction,
            "output": row.output,
            "generator": outputs.generator,
            "dataset": row.dataset,
            "id": row.id,
        }
        for row in outputs.rows
    ]
    write_atomic(path, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())


def freeze(outputs: Outputs, step: Step) -> Artifact:
    """As records, of which the door lets nobody train: the step that brings them says that they are held out."""
    own = step.origin(source=outputs.origin.source)
    rows = [
        Record(
            messages=(*user(row.instruction), Message("assistant", row.output)),
            origin=own,
            task={"id": row.id, "prompt": row.instruction, "dataset": row.dataset},
        )
        for row in outputs.rows
    ]
    said = {"generator": outputs.generator, **asdict(outputs.origin)}
    meta = {"held_out": True, "records": len(rows), "record_root": record_root(row.id for row in rows), "outputs": said}

    def fill(folder: Path) -> None:
        write_parquet(rows, folder / RECORDS_FILE)

    return step.write("records", fill, meta)


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
        )
        for record in read_parquet(artifact.path(RECORDS_FILE))
    )
    return Outputs(generator=said.pop("generator"), origin=Recorded(**said), rows=rows)


class Replayed:
    """A `ChatModel` that says again what was written down, to the same prompts, and to no others."""

    def __init__(self, outputs: Outputs) -> None:
        self.source = outputs.origin.source
        self._name = outputs.generator
        self._said = {row.instruction: row.output for row in outputs.rows}

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        """Raises `ConfigError` for prompts that were not asked, before any answer."""
        asked = [request.messages[-1].content for request in requests if request is not None]
        if missing := [prompt for prompt in asked if prompt not in self._said]:
            raise ConfigError(
                f"{self._name} did not answer {len(missing)} of {len(asked)} prompts, {missing[0][:60]!r} among them; "
                f"an `instruction` must be the prompt of the task, to the letter"
            )
        for position, prompt in enumerate(asked):
            yield position, self._answer(prompt)

    def stream(self, request: Request) -> Iterator[str | Answer]:
        for _, answer in self.answers([request]):
            yield answer.text
            yield answer

    def _answer(self, prompt: str) -> Answer:
        return Answer(text=self._said[prompt], finish="stop", prompt_tokens=0, completion_tokens=0)


def prompt_id(instruction: str, dataset: str = "") -> str:
    """Of a prompt that has no id of its own."""
    return digest([dataset, instruction])


def _rows(path: Path) -> list[tuple[int, Any]]:
    """By row, from 1. Raises `ConfigError` for a file that cannot be read."""
    if path.suffix != ".json":
        return list(json_lines(path, "outputs"))
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise ConfigError(f"outputs: {str(path)!r} cannot be read: {err}") from err
    if not isinstance(rows, list):
        raise ConfigError(f"outputs: {str(path)!r} must be a JSON list of rows, or JSON lines in a .jsonl file")
    return list(enumerate(rows, start=1))


def _output(row: Any) -> Output:
    """Other members (`datasplit`, `samplers`, …) are not read."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, Mapping):
        raise ValueError("not a JSON object")
    said = {name: row.get(name) for name in _KNOWN}
    instruction, output, dataset = said["instruction"], said["output"], said["dataset"] or ""
    if not isinstance(instruction, str) or not instruction:
        raise ValueError(f"'instruction' must be a string that is not empty, not {instruction!r}"[:300])
    if not isinstance(output, str):
        raise ValueError(f"'output' must be a string, not {output!r}"[:300])
    if not isinstance(dataset, str):
        raise ValueError(f"'dataset' must be a string, not {dataset!r}"[:300])
    name = said["id"] if said["id"] is not None else prompt_id(instruction, dataset)
    return Output(id=str(name), instruction=instruction, output=output, dataset=dataset)
