"""Keeps transformers' progress bars and warnings about its own future from our users."""

import contextlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing is drawn on stderr. Import transformers before: its log handlers keep the stderr they find."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
