"""`python -m trueseed.teachers.simulator --port 8001 --behaviour file.yaml`: the simulator by hand."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from trueseed.core import settings
from trueseed.errors import TrueSeedError
from trueseed.teachers.simulator import Behaviour
from trueseed.teachers.simulator.running import run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m trueseed.teachers.simulator",
        description="A provider of language models on loopback that fails as it is told to.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--behaviour", type=Path, help="YAML file of trueseed.teachers.simulator.Behaviour")
    parser.add_argument("--while-stdin", action="store_true", help="end when standard input does")
    wanted = parser.parse_args()
    try:
        behaviour = settings.read(wanted.behaviour, Behaviour) if wanted.behaviour else Behaviour()
        if wanted.while_stdin:
            threading.Thread(target=_end_with_stdin, daemon=True).start()
        run(behaviour, port=wanted.port, ready=lambda url: print(url, flush=True))
    except TrueSeedError as err:
        print(err, file=sys.stderr)
        sys.exit(err.exit_code)
    except KeyboardInterrupt:
        pass


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    signal.raise_signal(signal.SIGTERM)


main()
