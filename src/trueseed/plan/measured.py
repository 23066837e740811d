"""What is measured for a plan: a few real questions through the run's teacher and recipe, and this machine's speed."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel, Request
from trueseed.core.prompts import texts
from trueseed.core.records import read_parquet, write_parquet
from trueseed.curate import pipeline as curation
from trueseed.generate.rehearsal import Row, rehearse
from trueseed.pipeline import Beginning
from trueseed.runfile import RunFile
from trueseed.teachers.api import wire
from trueseed.teachers.api.headers import Live
from trueseed.teachers.teacher import Teacher
from trueseed.teachers.voice import Voice
from trueseed.workspace import Step

if TYPE_CHECKING:
    from trueseed.train.tempo import Tempo

KNOWN_S = 0.001  # an answer that is there sooner was known already, and says nothing of the teacher's pace
ROWS, QUESTIONS = "rows.json", "questions.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """seconds: of each call, from asking to answer. elapsed_s: from the first question to the last answer. at_once: how
    many were under way together at most. allowed_per_s: requests, as the provider's headers say; None when they do not.
    most_prompt, most_completion: tokens that the largest question reserved.
    """

    rows: tuple[Row, ...] = ()
    seconds: tuple[float, ...] = ()
    elapsed_s: float = 0.0
    at_once: int = 0
    allowed_per_s: float | None = None
    most_prompt: int = 0
    most_completion: int = 0

    @property
    def accepted(self) -> int:
        return sum(row.accepted for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Answered":
        rows = tuple(Row(**row) for row in value["rows"])
        return cls(**{**value, "rows": rows, "seconds": tuple(value["seconds"])})

    @classmethod
    def read(cls, artifact: Artifact) -> "Answered":
        return cls.from_json(json.loads(artifact.path(ROWS).read_bytes()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """curate_s: for as many records as rows were asked. train: None when the base weights are not here. hear_s: a
    token, of the distiller, None when nobody distils or its weights are not here.
    """

    curate_s: float | None = None
    train: "Tempo | None" = None
    hear_s: float | None = None


def ask(file: RunFile, prompts: Artifact, voice: Voice, step: Step, rows: int) -> Artifact:
    """Asks `rows` questions and keeps all that was said, right or not. Raises what the teacher raises."""
    recipe = file.generate
    assert recipe is not None  # whoever has a teacher generates
    with voice.speaking(step) as model:
        timed = _Timed(Teacher(model, step, identity=voice.speaks if file.cache else None))
        rehearsed = rehearse(recipe, prompts, timed, step, rows)
        live: Mapping[str, Live] = getattr(model, "live_limits", {})
    found = Answered(
        rows=rehearsed.rows,
        seconds=tuple(timed.seconds),
        elapsed_s=timed.elapsed_s,
        at_once=timed.at_once,
        allowed_per_s=_per_second(live),
        most_prompt=timed.most_prompt,
        most_completion=timed.most_completion,
    )

    def fill(folder: Path) -> None:
        (folder / ROWS).write_text(json.dumps(found.to_json(), indent=1) + "\n")
        write_parquet(rehearsed.records, folder / QUESTIONS)

    return step.write("report", fill, {"rows": len(found.rows), "accepted": found.accepted})


def try_out(file: RunFile, answered: Artifact, begun: Beginning, step: Step) -> Machine:
    """How fast this machine curates what was answered, trains on noise of that length, and hears the distiller."""
    from trueseed.train.tempo import hearing, tempo

    base, distiller = begun.base, begun.distiller
    records = list(read_parquet(step.read(answered) / QUESTIONS))
    began = time.monotonic()
    curation.sift(records, curation.concerns(file.curate, list(_texts(begun.held_out, step))))
    curate_s = time.monotonic() - began
    told = [record for record in records if record.answer.strip()]
    train = tempo(file.training, told, step.read(base)) if base and told else None
    hear_s = hearing(train.tokens, file.train.max_length, distiller.scorer) if train and distiller else None
    return Machine(curate_s=curate_s, train=train, hear_s=hear_s)


def _texts(held_out: Artifact, step: Step) -> Iterator[str]:
    step.read(held_out)  # named as an input
    return texts(held_out)


@dataclass
class _Timed:
    """A `ChatModel` that notes how long its answers take, and the most that a question reserves."""

    model: ChatModel
    seconds: list[float] = field(default_factory=list)
    at_once: int = 0
    most_prompt: int = 0
    most_completion: int = 0
    _first: float | None = None
    _last: float = 0.0

    @property
    def source(self) -> str:
        return self.model.source

    @property
    def elapsed_s(self) -> float:
        return 0.0 if self._first is None else max(0.0, self._last - self._first)

    def answers(self, requests: Iterable[Request | None]) -> Iterator[tuple[int, Answer]]:
        began: list[float] = []
        answered = 0

        def noted() -> Iterator[Request | None]:
            for request in requests:
                if request is not None:
                    self._note(request)
                    began.append(time.monotonic())
                    self._first = began[0] if self._first is None else self._first
                    self.at_once = max(self.at_once, len(began) - answered)
                yield request

        for position, answer in self.model.answers(noted()):
            self._last, answered = time.monotonic(), answered + 1
            took = self._last - began[position]
            if took > KNOWN_S:
                self.seconds.append(took)
            yield position, answer

    def stream(self, request: Request) -> Iterator[str | Answer]:
        return self.model.stream(request)

    def _note(self, request: Request) -> None:
        most = wire.most(request)
        self.most_prompt = max(self.most_prompt, most.prompt)
        self.most_completion = max(self.most_completion, most.completion)


def _per_second(live: Mapping[str, Live]) -> float | None:
    """Requests that come back a second, as `teachers.api.throttle` reads the same headers."""
    said = live.get("requests")
    if said is None or said.limit is None or said.remaining is None or not said.resets_in:
        return None
    return max(said.limit - said.remaining, 0) / said.resets_in or None
