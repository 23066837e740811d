"""How long threads that compute together wait for each other awake: GNU OpenMP's, which torch and our own kernel use.

By default they spin for some 13 ms before they sleep. Alone on a machine none waits so long. Beside any other program
that wants a core, each of the hundred meetings of a step is waited for by a thread that holds the very core the other
one needs: a token took 950 ms where it now takes 80, and 14 alone in both ways (docs/log.md).
"""

import os
from collections.abc import MutableMapping

SPINS = "10000"  # some 0.4 ms; at 1,000 a token takes 40 ms beside others, and a fifth longer alone
_SAID = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Before torch is loaded, which reads it then; whoever has said how threads wait is left alone."""
    if not any(name in environment for name in _SAID):
        environment["GOMP_SPINCOUNT"] = SPINS
