"""The door and what passes it: `Workspace` opens a `Step`, and closes it with one signed statement."""

from trueseed.workspace.door import Workspace
from trueseed.workspace.opening import Told
from trueseed.workspace.place import KEPT, Place, Progress
from trueseed.workspace.step import FLAGS, Step

__all__ = ["FLAGS", "KEPT", "Place", "Progress", "Step", "Told", "Workspace"]
