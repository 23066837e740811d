"""How long work on the command line is stopped: Ctrl-C and a polite kill end it as a pause."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from trueseed.errors import Paused


@contextmanager
def pausing() -> Iterator[None]:
    """Everything so far is kept, and the same command goes on. Raises `Paused` for `KeyboardInterrupt` and SIGTERM."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as err:
        raise Paused("stopped; nothing is lost, the same command goes on") from err
    finally:
        signal.signal(signal.SIGTERM, previous)
