"""A teacher behind an API: is it there, does it know us, does it have the model, can that do what the run asks?"""

import difflib
import os
import time
from collections.abc import Iterator, Mapping

from trueseed.core.chat import Request, user
from trueseed.doctor.check import Check, Subject
from trueseed.errors import ConfigError, Refused, TeacherError
from trueseed.generate.verifiable import Sampling
from trueseed.runfile import TOLD, RunFile
from trueseed.teachers.api import wire
from trueseed.teachers.api.actions import Kind
from trueseed.teachers.api.probe import Probe, Trouble, probe
from trueseed.teachers.api.providers import NO_KEY, Endpoint, provider, reach

TROUBLES: Mapping[Trouble, tuple[str, str]] = {
    "name": ("no machine of that name is known here", "check `base_url`, and the network's name service"),
    "refused": ("nothing answers there", "start the server, or correct `base_url`"),
    "slow": ("it did not answer in time", "try again; if it stays slow, look at the network and the provider's status"),
    "certificate": (
        "its certificate cannot be trusted",
        "check `base_url` and the machine's certificates; a certificate of your own goes into SSL_CERT_FILE",
    ),
    "broken": ("it broke off", "try again; check that `base_url` is an OpenAI-compatible address"),
}
MISTAKES: Mapping[Trouble, type[ConfigError | TeacherError]] = {
    "name": ConfigError, "certificate": ConfigError, "refused": TeacherError, "slow": TeacherError,
    "broken": TeacherError,
}  # fmt: skip
UNCHECKED = (
    "whether the key may ask this very model, and whether credit is left: only a completion tells",
    "whether answers carry usage and what the capabilities table says: only a completion tells",
)
ENDINGS: Mapping[Kind, type[ConfigError | Refused | TeacherError]] = {
    "fix": ConfigError, "skip": ConfigError, "pause": ConfigError, "refuse_region": Refused, "hold": Refused,
    "retry": TeacherError, "wait": TeacherError,
}  # fmt: skip


def checks(
    subject: Subject, endpoint: Endpoint, file: RunFile, environment: Mapping[str, str] = os.environ
) -> Iterator[Check]:
    """Address, TLS, key and model by one free call; capabilities by the table."""
    try:
        where = reach(endpoint, environment)
    except ConfigError as err:
        yield subject.error("key" if "key" in str(err) else "address", err)
    else:
        found = probe(endpoint, environment, now=time.time())
        yield _address(subject, found)
        if found.trouble is None:
            yield _tls(subject, found)
            yield _key(subject, found, has_key=where.key != NO_KEY)
            yield _model(subject, found, endpoint)
            yield from _live(subject, found)
    yield from _capabilities(subject, endpoint, file)


def _address(subject: Subject, found: Probe) -> Check:
    if found.trouble is not None:
        meaning, next_ = TROUBLES[found.trouble]
        name = "TLS" if found.trouble == "certificate" else "address"
        return subject.fails(name, f"{found.address}: {meaning} ({found.said})", next_, MISTAKES[found.trouble])
    if 200 <= found.status < 300 and found.models is None:
        return subject.fails(
            "address",
            f"{found.address} answers, but not with a list of models: {found.said!r}",
            "check that `base_url` is an OpenAI-compatible address (it usually ends in /v1)",
            ConfigError,
        )
    if 300 <= found.status < 400 and found.action:
        return subject.fails("address", f"{found.address}: {found.action.because}", found.action.next, ConfigError)
    return subject.ok("address", f"{found.address} answers")


def _tls(subject: Subject, found: Probe) -> Check:
    if found.address.startswith("https:"):
        return subject.ok("TLS", "the certificate is trusted")
    if any(f"//{host}" in found.address for host in ("127.", "localhost", "[::1]")):
        return subject.ok("TLS", "none, and the server is on this machine")
    return subject.warning("TLS", "none: questions and key cross the network in the open", "give an https address")


def _key(subject: Subject, found: Probe, *, has_key: bool) -> Check:
    if found.action is not None and found.status in (400, 401, 402, 403, 429):
        meaning = f"{found.action.because} ({found.said})"
        return subject.fails("key", meaning, found.action.next, ENDINGS[found.action.kind])
    if found.status >= 500 and found.action is not None:
        return subject.fails("key", found.action.because, found.action.next, TeacherError)
    if not has_key:
        return subject.ok("key", "none is sent, and none was asked for")
    if found.proves_key:
        return subject.ok("key", "present and accepted")
    return subject.warning(
        "key", "present; this server lists its models to anybody or not at all, so nothing free shows that it is valid"
    )


def _model(subject: Subject, found: Probe, endpoint: Endpoint) -> Check:
    wanted = endpoint.wire_model
    if provider(endpoint).is_azure:
        return subject.warning(
            "model",
            f"{wanted!r} is a deployment of yours, and Azure's free list names models only",
            "see Azure's portal",
        )
    if found.models is None:
        return subject.warning("model", f"the server gives no list (status {found.status}), so {wanted!r} may be there")
    if wanted in found.models or f"models/{wanted}" in found.models:
        return subject.ok("model", f"{wanted!r} is one of {len(found.models)}")
    near = difflib.get_close_matches(wanted, found.models, n=3, cutoff=0.3) or list(found.models[:3])
    return subject.fails(
        "model",
        f"{wanted!r} is not among the {len(found.models)} models of this server",
        f"set `model` to one of its names, for example {', '.join(near)}",
        ConfigError,
    )


def _live(subject: Subject, found: Probe) -> Iterator[Check]:
    for name, each in found.live.items():
        if each.limit is not None:
            left = f", {each.remaining} left" if each.remaining is not None else ""
            yield subject.ok(f"provider's limit of {name}", f"{each.limit}{left}, as its headers say")


def _capabilities(subject: Subject, endpoint: Endpoint, file: RunFile) -> Iterator[Check]:
    """Every kind of request that the run makes, put through the table that refuses it later."""
    try:
        known = provider(endpoint)
    except ConfigError as err:
        yield subject.error("route", err)
        return
    model, asked = endpoint.wire_model, dict(_requests(endpoint, file))
    failed = False
    for what, request in asked.items():
        try:
            wire.body(request, model=model, provider=known)
        except ConfigError as err:
            failed = True
            yield subject.error(f"capabilities for {what}", err)
    if not failed:
        yield subject.ok("capabilities", f"{model!r} at {known.name} can do what {', '.join(asked)} ask")
    if why := known.of(model).lacks.get("seed"):
        yield subject.warning("seed", f"{why}: the same question may be answered otherwise another time")
    if file.generate and any(teacher.remote == endpoint for teacher in file.teachers):
        yield subject.warning(
            "log-probabilities", "an API cannot say how likely its model finds a chat, so chat perplexity is left out"
        )


def _requests(endpoint: Endpoint, file: RunFile) -> Iterator[tuple[str, Request]]:
    """By what they are for: those of a teacher, of who says records anew or is measured on tasks, and of a judge."""
    plain, teaches = file.generate, [asked for asked in file.teachers if asked.remote == endpoint]
    if plain and teaches:
        yield (
            "generate",
            Request(
                messages=user("?"), temperature=plain.temperature, top_p=plain.top_p, stop=("\n\n",),
                top_logprobs=file.top_logprobs_of(teaches[0]),
            ),
        )  # fmt: skip
        yield "baseline", Request(messages=user("?"), temperature=0.0)
        if plain.free.share:
            yield "free records", _drawn_as(plain.free.sampling)
    for name, (each, asked) in file.transforms.items():
        if asked.remote == endpoint:
            yield name, _drawn_as(each.sampling)
    aimed_at = {each.task for each in file.targets if each.teacher and each.teacher.remote == endpoint}
    for task in file.tasks:
        if task.named in aimed_at or (teaches and "teacher" in file.measures(task)):
            yield f"task {task.named}", Request(messages=user("?"), temperature=task.temperature, top_p=task.top_p)
    for judge in file.judges:
        if judge.remote == endpoint:
            schema = {"type": "object"} if judge.rubric.json_schema else None
            told = TOLD if judge.method == "likelihood" else 0
            yield "verdicts", Request(messages=user("?"), temperature=0.0, schema=schema, top_logprobs=told)


def _drawn_as(sampling: Sampling) -> Request:
    return Request(messages=user("?"), temperature=sampling.temperature, top_p=sampling.top_p)
