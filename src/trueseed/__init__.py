"""TrueSeed grows a small language model from a large one, and proves that it was allowed to.

    workspace = Workspace.open(Path("work"), create=True)
    with workspace.step("generate", inputs=[prompts], ask={teacher.source: Use.TRAIN}) as step: ...

Importing it is cheap: each name is imported when it is first asked for (PEP 562), so that a command pays for what it
uses. torch comes with `trueseed.lm` and `trueseed.train` only.

What the commands `evaluate`, `compare`, `targets`, `arena` and `judge check` do is `measure`, `compare`, `targets`,
`arena` and `judge_check` here, each with an example where it is at home (docs/evaluation.md, From Python).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from trueseed.core.threads import wait_briefly

if TYPE_CHECKING:
    from trueseed.aims import targets
    from trueseed.core.artifacts import Artifact
    from trueseed.core.chat import Answer, ChatModel, Message, Request
    from trueseed.core.records import Origin, Record
    from trueseed.errors import Broken, ConfigError, Paused, Refused, Short, TeacherError, TrueSeedError
    from trueseed.judging import judge_check
    from trueseed.scoreboard import arena, compare
    from trueseed.scoring import measure
    from trueseed.terms.model import Effect, Facts, Label, Relation, Student, Use
    from trueseed.workspace import Step, Workspace

__all__ = [
    "Answer",
    "Artifact",
    "Broken",
    "ChatModel",
    "ConfigError",
    "Effect",
    "Facts",
    "Label",
    "Message",
    "Origin",
    "Paused",
    "Record",
    "Refused",
    "Relation",
    "Request",
    "Short",
    "Step",
    "Student",
    "TeacherError",
    "TrueSeedError",
    "Use",
    "Workspace",
    "arena",
    "compare",
    "judge_check",
    "measure",
    "targets",
]

wait_briefly()

_HOMES = {
    "aims": ("targets",),
    "core.artifacts": ("Artifact",),
    "core.chat": ("Answer", "ChatModel", "Message", "Request"),
    "core.records": ("Origin", "Record"),
    "errors": ("Broken", "ConfigError", "Paused", "Refused", "Short", "TeacherError", "TrueSeedError"),
    "judging": ("judge_check",),
    "scoreboard": ("arena", "compare"),
    "scoring": ("measure",),
    "terms.model": ("Effect", "Facts", "Label", "Relation", "Student", "Use"),
    "workspace": ("Step", "Workspace"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
