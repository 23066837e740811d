"""Making again what a recall reached, from the inputs that remain.

    cost       what it takes, counted record by record
    remains    which earlier work is replaced, and what of its records may go on
    reached    which rows of an artifact a recall reaches
    leave_out  the step that takes those rows out

The steps themselves are run by `trueseed.rerun`.
"""

from trueseed.rebuild.cost import Again, Counted, Rebuild, plan_rebuild, plan_standing

__all__ = ["Again", "Counted", "Rebuild", "plan_rebuild", "plan_standing"]
