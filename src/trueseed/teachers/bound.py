"""How everything that asks for an open step gets its teacher: generate, baseline, rewriting and translation alike.

    with bound(voice, step, cache=file.cache) as teacher:
        ...

It is asked under the step's use, under the allowance and the holds of our legal entity, out of the cache where that is
allowed, and on the account that every workspace shares.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from trueseed.core.chat import ChatModel
from trueseed.teachers.api.endings import Gone
from trueseed.teachers.silent import Silent
from trueseed.teachers.teacher import Teacher
from trueseed.teachers.voice import Voice
from trueseed.workspace import Step


@contextmanager
def bound(voice: Voice, step: Step, *, cache: bool) -> Iterator[Teacher]:
    """The teacher; when it may not be asked any more, what it answered in this step before, and then why. cache: share
    answers with other steps.
    """
    with ExitStack() as stack:
        model: ChatModel
        try:
            model = stack.enter_context(voice.speaking(step))
        except Gone as ending:
            model = Silent(voice.source, ending)
        yield Teacher(model, step, identity=voice.speaks if cache else None)
