"""A maker whose terms a test writes, and a workspace in which it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Request, user
from trueseed.core.records import Origin
from trueseed.ledger.log import Entry
from trueseed.ledger.statement import SEAL, STEP
from trueseed.teachers.answers.cache import CACHE
from trueseed.teachers.scripted import Script, ScriptedTeacher
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

ACME = "acme/large@api"
IDENTITY = {"remote": {"base_url": "https://api.acme.example/v1", "wire_model": "large"}}


def ask(words: str, **changes: Any) -> Request:
    return Request(messages=user(words), **changes)


def echo(request: Request) -> str:
    return f"you said {request.messages[-1].content}"


def identity_of(words: str) -> str:
    return digest(ask(words).to_json())


@dataclass
class Place:
    """A workspace. asked: what its model was really asked, over all steps."""

    folder: Path
    permits: Sequence[str] = ("train", "judge")
    script: Script = echo
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        Workspace.open(self.folder, create=True)
        self.terms("1", self.permits)

    def terms(self, version: str, permits: Sequence[str], refuses: Sequence[str] = ("reward",)) -> str:
        """Acme's terms from now on, as its operator read them; returns their digest."""
        head = {
            "id": f"acme-{version}", "provider": "Acme", "document": "Terms", "version": version, "route": "api",
            "effective_from": "unknown", "observed_at": "unknown", "text_sha256": "unknown",
            "where_read": "in a test", "verification": "primary", "on_termination": "nothing",
            "reaches_models_trained_on_output": "no",
        }  # fmt: skip
        lines = [f'{name} = "{value}"' for name, value in head.items()] + ['sources = ["acme/*"]']
        for verdict, uses in (("permit", permits), ("refuse", refuses)):
            lines += ["[[permissions]]", f"uses = {[*uses]}", f'verdict = "{verdict}"']
            lines += [f'clause = "{version}.1"', 'because = "it says so"']
        (self.folder / "terms").mkdir(exist_ok=True)
        (self.folder / "terms" / "acme.toml").write_text("\n".join(lines) + "\n")
        self.workspace = Workspace.open(self.folder)
        return self.workspace.catalog.document(f"acme-{version}").digest

    def answers(
        self,
        questions: Sequence[str | Request],
        use: Use = Use.TRAIN,
        *,
        name: str = "generate",
        config: Mapping[str, Any] | None = None,
        identity: Mapping[str, Any] | None = IDENTITY,
    ) -> list[Answer]:
        """Asks in a step of its own."""
        requests = [ask(each) if isinstance(each, str) else each for each in questions]
        with self.workspace.step(name, ask={ACME: use}, config=config) as step:
            found = dict(Teacher(self.model(), step, identity=identity).answers(requests))
        return [found[position] for position in range(len(requests))]

    def model(self, *, slots: int = 1) -> ScriptedTeacher:
        def script(request: Request) -> str | Answer:
            self.asked.append(request.messages[-1].content)
            assert callable(self.script)
            return self.script(request)

        return ScriptedTeacher(ACME, script, slots=slots)

    def origin(self, words: str, use: Use, *, name: str = "look") -> Origin:
        """That of a record made from the answer to these words, in a step that wants it for `use`."""
        with self.workspace.step(name, ask={ACME: use}) as step:
            list(Teacher(self.model(), step, identity=IDENTITY).answers([ask(words)]))
            return step.origin(source=ACME, request=identity_of(words))

    def entries(self, kind: str = STEP, event: str = "done") -> list[Entry]:
        self.workspace.ledger.refresh()
        entries = [entry for entry in self.workspace.ledger.entries() if entry.predicate_type == kind]
        return entries if kind != STEP else [entry for entry in entries if entry.predicate["event"] == event]

    @property
    def last(self) -> dict[str, Any]:
        """What the newest done step says of itself."""
        return self.entries()[-1].predicate

    @property
    def seals(self) -> list[dict[str, Any]]:
        return [entry.predicate["answers"] for entry in self.entries(SEAL)]

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / CACHE).glob("*.jsonl"))
