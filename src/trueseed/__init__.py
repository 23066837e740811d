"""TrueSeed grows a small language model from a large one, and proves that it was allowed to.

    workspace = Workspace.open(Path("work"), create=True)
    with workspace.step("generate", inputs=[prompts], ask={teacher.source: Use.TRAIN}) as step: ...

Importing it is cheap: torch comes with `trueseed.lm` and `trueseed.train` only.
"""

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel, Message, Request
from trueseed.core.records import Origin, Record
from trueseed.errors import Broken, ConfigError, Paused, Refused, Short, TeacherError, TrueSeedError
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
]
