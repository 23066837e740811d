"""A process that asks a remote teacher and keeps the answers as records: what the story kills, pauses and resumes.

    python -m tests.story.asking --workspace work --teacher endpoint.json --questions 2000

It does what a stage of a run does, step, teacher and artifact, and nothing else. It ends as the command line does: with
the error's sentence on standard error and its exit code.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, Message, Request, user
from trueseed.core.records import Record, write_parquet
from trueseed.errors import TrueSeedError
from trueseed.teachers.account.allowance import Allowance, Limit
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.api.remote import Remote
from trueseed.teachers.teacher import Teacher
from trueseed.terms.model import Use
from trueseed.workspace import Step, Workspace

UNSPEAKABLE = "forbidden"  # a word that the provider's content filter declines
SKIPPED = "skipped.json"  # beside the records: the questions without an answer, and why


def question(number: int) -> Request:
    """Every 500th cannot be answered."""
    about = UNSPEAKABLE if number % 500 == 250 else "soup"
    return Request(messages=user(f"What is number {number} about {about}?"), max_tokens=32)


def ask(
    workspace: Workspace,
    endpoint: Endpoint,
    limits: Sequence[Limit],
    count: int,
    *,
    pause_s: float = 1.0,
    before: Callable[[int], None] = lambda number: None,
) -> Artifact:
    """Asks what is left to ask and writes all of it down. pause_s: as `Remote` has it. before: told each question's
    number as it is taken. Raises what the door and the teacher raise.
    """

    def questions() -> Iterator[Request]:
        for number in range(count):
            before(number)
            yield question(number)

    with workspace.step("generate", ask={endpoint.source: Use.TRAIN}, config={"questions": count}) as step:
        if earlier := step.earlier("records"):
            return earlier
        with closing(Account.open()) as account:
            holds = Holds(account, our_entity())
            holds.restore(workspace.ledger)
            allowance = Allowance(account, limits, our_entity())
            with Remote(endpoint, step, allowance=allowance, holds=holds, pause_s=pause_s) as model:
                answers = dict(Teacher(model, step).answers(questions()))
        return step.write("records", lambda folder: _write(folder, step, endpoint.source, answers), {"asked": count})


def _write(folder: Path, step: Step, source: str, answers: dict[int, Answer]) -> None:
    skipped = {number: answer.because for number, answer in answers.items() if answer.finish == "skipped"}
    answered = {number: answer.text for number, answer in answers.items() if answer.finish != "skipped"}
    write_parquet(_records(step, source, answered), folder / "records.parquet")
    (folder / SKIPPED).write_text(json.dumps(skipped))


def _records(step: Step, source: str, answered: dict[int, str]) -> Iterator[Record]:
    for number, text in sorted(answered.items()):
        asked = question(number)
        origin = step.origin(source=source, request=digest(asked.to_json()))
        said = Message(role="assistant", content=text)
        yield Record(messages=(*asked.messages, said), origin=origin, task={"number": number})


def run(arguments: list[str], environment: dict[str, str], said: str) -> None:
    """`main` in a process that was forked for it. said: the file that takes what it prints."""
    os.environ.update(environment)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    logging.basicConfig(level=logging.DEBUG)
    main(arguments)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="JSON of an Endpoint")
    parser.add_argument("--limits", type=Path, help="JSON of a list of limits")
    parser.add_argument("--questions", type=int, required=True)
    wanted = parser.parse_args(arguments)
    limits = json.loads(wanted.limits.read_text()) if wanted.limits else []
    endpoint = Endpoint.model_validate_json(wanted.teacher.read_text())
    try:
        workspace = Workspace.open(wanted.workspace, create=True)
        ask(workspace, endpoint, [Limit.model_validate(each) for each in limits], wanted.questions)
    except TrueSeedError as err:
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        sys.exit(err.exit_code)


if __name__ == "__main__":
    main()
