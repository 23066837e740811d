"""Who acts in the stories: a process that asks (`asking`), the operator who starts it, and the reviewer who releases.

The asking process is forked from one that has imported everything, since to start nine anew takes longer than to ask.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.story import asking
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.errors import TrueSeedError
from trueseed.teachers.simulator import Counts, Simulator

KEY = "5ec2e7f00d5ec2e7f00d5ec2e7f00d42"  # of no provider's shape; looked for in all that was written or said
DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit training
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
        """A verb of the command line: its exit code, and what it said."""
        done = CliRunner().invoke(app, [*arguments])
        if isinstance(done.exception, TrueSeedError):
            return done.exception.exit_code, str(done.exception)
        return done.exit_code, done.output


def _whole_lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].splitlines()
