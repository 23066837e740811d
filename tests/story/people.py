"""Who acts in the stories: a process that asks (`asking`), the operator who starts it, and the reviewer who releases.

The asking process is forked from one that has imported everything, since to start nine anew takes longer than to ask.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from tests.story import asking
from tests.tiny_run import run_file
from typer.main import get_command

from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.curate.pipeline import Config as Curation
from trueseed.curate.pipeline import curate
from trueseed.errors import TrueSeedError
from trueseed.ledger.statement import STEP
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Counts, Simulator
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

KEY = "5ec2e7f00d5ec2e7f00d5ec2e7f00d42"  # of no provider's shape; looked for in all that was written or said
ANOTHER_KEY = "another-key-0123456789abcdef0123"
DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit training
GPT, AZURE = "openai/gpt-4@api", "openai/gpt-4@azure"
MISTRAL = "mistral/mistral-medium@api"
SMOLLM2 = "huggingfacetb/smollm2-135m-instruct@weights"
SOON_S = 120.0  # to fail instead of hanging


def forked() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openai", "tests.story.asking"])
    return context


@dataclass(kw_only=True)
class Operator:
    """Starts the asking process over one workspace, and uses the command line. folder: of everything that is written.
    questions: how many are asked.
    """

    folder: Path
    provider: Simulator
    questions: int
    endpoint: dict[str, Any] = field(default_factory=dict)
    limits: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = {"source": DEEPSEEK, "model": "simulated", "base_url": self.provider.openai, "key_from": "STORY_KEY"}
        self.endpoint = {**given, "price": {"input": 1.0, "output": 2.0}, **self.endpoint}
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    @property
    def said(self) -> Path:
        """What the asking processes printed, one after the other."""
        return self.folder / "said.txt"

    def start(self) -> Any:
        (self.folder / "teacher.json").write_text(json.dumps(self.endpoint))
        (self.folder / "limits.json").write_text(json.dumps(self.limits))
        arguments = ["--workspace", str(self.workspace), "--teacher", str(self.folder / "teacher.json")]
        arguments += ["--limits", str(self.folder / "limits.json"), "--questions", str(self.questions)]
        environment = {"TRUESEED_STATE": os.environ["TRUESEED_STATE"], "STORY_KEY": KEY}
        process = forked().Process(target=asking.run, args=(arguments, environment, str(self.said)))
        process.start()
        return process

    def ask(self, kill_when: Callable[[Counts], bool] | None = None) -> int:
        """Starts it and waits for its end, or kills it when what the provider counts says so. Returns its exit code,
        -9 for a kill.
        """
        process = self.start()
        deadline = time.monotonic() + SOON_S
        while process.is_alive():
            if kill_when is not None and kill_when(self.provider.counts()):
                process.kill()
                break
            process.join(0.01)
            assert time.monotonic() < deadline, self.said.read_text()[-2000:]
        process.join()
        return int(process.exitcode)

    def answers(self) -> list[dict[str, Any]]:
        """What is kept of steps that are not done, whole lines only."""
        lines = [line for path in self.workspace.glob("steps/*/cache/*.jsonl") for line in _whole_lines(path)]
        return [json.loads(line)["answer"] for line in lines]

    def trueseed(self, *arguments: str) -> tuple[int, str]:
        return trueseed(*arguments)


def trueseed(*arguments: object) -> tuple[int, str]:
    """A verb of the command line: its exit code, and what it said."""
    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = _verbs().main([str(each) for each in arguments], standalone_mode=False)
    except TrueSeedError as err:
        return err.exit_code, str(err)
    return code or 0, said.getvalue()


@cache
def _verbs() -> Any:
    """Put together once: that takes longer than most verbs."""
    return get_command(app)


@dataclass(kw_only=True)
class Place:
    """A workspace on a folder of its own, and a provider on loopback that stands for whichever maker a source names."""

    folder: Path
    provider: Simulator

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def workspace(self) -> Workspace:
        return Workspace.open(self.work, create=True)

    def trueseed(self, *arguments: object) -> tuple[int, str]:
        """In this workspace, which need not have begun."""
        self.work.mkdir(exist_ok=True)
        return trueseed(*arguments, "--workspace", self.work)

    def told(self, *arguments: object) -> Any:
        """What a verb that succeeds prints as JSON."""
        code, said = self.trueseed(*arguments, "--json")
        assert code == 0, said
        return json.loads(said)

    def endpoint(self, source: str, **more: Any) -> dict[str, Any]:
        base_url = self.provider.url if source.startswith("openai/") and "@azure" in source else self.provider.openai
        given = {"source": source, "model": "simulated", "base_url": base_url, "key_from": "STORY_KEY"}
        return {**given, "price": {"input": 1.0, "output": 2.0}, **more}

    def run_file(self, source: str, **changes: Any) -> Path:
        """Of a run whose teacher is `source`. Its base is not there, so whoever gets that far is told so."""
        remote = self.endpoint(source, **changes.pop("remote", {}))
        teacher = {"remote": remote, **changes.pop("teacher", {})}
        return run_file(self.folder, self.folder / "no-weights", teacher=teacher, **changes)

    def ask(self, source: str, count: int = 3, **more: Any) -> Artifact:
        """Asks for training, and keeps the answers as records. Raises what the door and the teacher raise."""
        endpoint = Endpoint.model_validate(self.endpoint(source, **more))
        return asking.ask(self.workspace, endpoint, [], count)

    def grow(self, *records: Artifact) -> tuple[Artifact, Artifact]:
        """A dataset of these records, and a student of it: through the steps of a run, without the training."""
        workspace = self.workspace
        with workspace.step("curate", inputs=records) as step:
            dataset = step.earlier("dataset") or curate(Curation(validation=0.0, balance=100.0), records, [], step)
        with workspace.step("train", inputs=[dataset], effect=Effect.TRAIN) as step:
            grown = digest([str(each) for each in (*records, dataset)])
            student = step.earlier("weights") or step.write(
                "weights", lambda folder: (folder / "weights.txt").write_text(grown) and None, {}
            )
        return dataset, student

    def rows(self, name: str, *answers: str, **more: Any) -> Path:
        """A file of chats, as somebody has them."""
        path = self.folder / name
        path.write_text(
            "".join(json.dumps({"prompt": "Tell me.", "completion": each, **more}) + "\n" for each in answers)
        )
        return path

    def made(self) -> list[Artifact]:
        """All that the steps made, oldest first."""
        workspace = self.workspace
        return [workspace.store.get(f"{made.kind}:{made.digest}") for made in workspace.lineage().artifacts()]

    def document(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def reads(self, name: str, source: str, *permissions: str, since: str = "2023-01-01") -> None:
        """The operator adds a text that they read: `permissions` as in `permit judge` or `refuse train reward`."""
        said = [each.split() for each in permissions]
        rows = "".join(PERMISSION.format(verdict=verdict, uses=json.dumps(uses)) for verdict, *uses in said)
        folder = self.work / "terms"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.toml").write_text(CONTRACT.format(name=name, source=source, since=since) + rows)

    def refusals(self) -> list[tuple[str, str]]:
        """Steps that the door refused, with why, as the ledger has them."""
        said = [entry.predicate for entry in self.workspace.ledger.entries() if entry.predicate_type == STEP]
        return [(each["step"], each["reason"]) for each in said if each["event"] == "refused"]


CONTRACT = """
id = "{name}"
provider = "a provider"
document = "A text that the operator read"
version = "1"
route = "any"
sources = ["{source}"]
effective_from = {since}
observed_at = {since}
text_sha256 = "unknown"
where_read = "in the operator's own files"
verification = "primary"
on_termination = "nothing is said"
reaches_models_trained_on_output = "nothing is said"
"""
PERMISSION = """
[[permissions]]
uses = {uses}
relations = ["output", "filter", "score", "weights"]
verdict = "{verdict}"
clause = "1"
because = "so it is written"
"""


def _whole_lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].splitlines()
