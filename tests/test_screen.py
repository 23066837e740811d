"""Progress as a person without a terminal reads it."""

import io

from rich.console import Console

from trueseed.screen import Screen


def test_a_second_run_on_the_same_screen_begins_anew():
    told = io.StringIO()
    with Screen(Console(file=told, width=120)) as screen:
        for done in (1, 2, 1, 2):
            screen("train", done, 2, "steps", "")
    assert told.getvalue().count("train: 2/2 steps") == 2
