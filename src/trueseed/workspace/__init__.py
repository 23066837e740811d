"""The door and what passes it: `Workspace` opens a `Step`, and closes it with one signed statement."""

from trueseed.workspace.door import KEPT, Progress, Workspace
from trueseed.workspace.opening import Told
from trueseed.workspace.step import FLAGS, Step

__all__ = ["FLAGS", "KEPT", "Progress", "Step", "Told", "Workspace"]
