"""Prompts on their way into a workspace: the project's own, or a user's file."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trueseed.core import prompts as core
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.prompts import Prompt
from trueseed.errors import Refused
from trueseed.similarity.remembered import Remembered

if TYPE_CHECKING:
    from trueseed.workspace import Step

EVERYDAY = Path(__file__).parent / "prompts" / "everyday.jsonl"


@dataclass(frozen=True, slots=True)
class Imported:
    """Prompts that were read whole and can become an artifact."""

    prompts: tuple[Prompt, ...]

    @property
    def digest(self) -> str:
        return digest([prompt.to_json() for prompt in self.prompts])

    def write(self, step: "Step") -> Artifact:
        """The prompts as an artifact of kind `prompts`, in the order of the file."""
        return step.write(
            "prompts", lambda folder: core.write_prompts(self.prompts, folder), {"prompts": len(self.prompts)}
        )


def read_prompts(path: Path) -> Imported:
    """A user's own file. Raises `ConfigError` naming the lines that are wrong."""
    return Imported(core.read_prompts(path))


def everyday() -> Imported:
    """Several hundred everyday tasks written for this project."""
    return read_prompts(EVERYDAY)


def named(file: str | None) -> Imported:
    """Those of a user's file, or everyday tasks where none is named. Raises as `read_prompts`."""
    return read_prompts(Path(file)) if file else everyday()


def must_have_papers(found: Imported, source: str, answers: Path) -> None:
    """Raises `Refused` when a prompt is an answer that our gateway relayed, said to be of another source than it was.

    source: whose the prompts are said to be. answers: where relayed answers are remembered, if any were.
    """
    if not answers.exists():
        return
    with closing(Remembered(answers)) as remembered:
        for prompt in found.prompts:
            known = remembered.recognise(prompt.text)
            if known and known.source != source:
                raise Refused(
                    f"prompt {prompt.id!r} holds {known.kept:.0%} of an answer of {known.source!r} ({known.about}), "
                    f"and is said to come from {source!r}; take it out, or import it from a file of its own whose "
                    f"prompts.source is {known.source!r}, so that its terms are asked"
                )
