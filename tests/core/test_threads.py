"""How threads wait for each other."""

import os
import subprocess
import sys

import pytest

from trueseed.core.threads import SPINS, wait_briefly


def test_threads_wait_briefly_where_nobody_said_how() -> None:
    said: dict[str, str] = {}
    wait_briefly(said)
    assert said == {"GOMP_SPINCOUNT": SPINS}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_who_said_how_threads_wait_is_left_alone(name: str) -> None:
    said = {name: "active"}
    wait_briefly(said)
    assert said == {name: "active"}


def test_importing_trueseed_says_it_before_torch_is_loaded() -> None:
    code = "import os, sys, trueseed; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    said = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True).stdout
    assert said.split() == [SPINS, "False"]
