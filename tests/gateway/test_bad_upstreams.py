"""Upstreams that cannot be reached or trusted: the client is told which, and nothing is charged that never left."""

import pytest
from tests.gateway.conftest import DEEPSEEK, PRICE, refusal
from tests.teachers.api.test_remote import certificate, serving

from trueseed.teachers.simulator import Behaviour, Faults


def test_a_name_that_is_not_found(opened):
    with opened(upstreams=[{"source": DEEPSEEK, "base_url": "http://no.such.invalid/v1", "price": PRICE}]) as place:
        told = refusal(place.client())
        assert (told.status_code, told.code) == (502, "upstream_unreachable")
        assert place.charged() == (0, 0)


def test_a_certificate_that_cannot_be_trusted(opened, tmp_path):
    upstream = {"source": DEEPSEEK, "price": PRICE}
    with (
        serving(lambda _: (200, b"{}"), certificate=certificate(tmp_path)) as url,
        opened(upstreams=[{**upstream, "base_url": url}]) as place,
    ):
        told = refusal(place.client())
        assert (told.status_code, told.code) == (502, "upstream_unreachable")
        assert "certificate" in told.message
        assert place.charged() == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_of_40_mb(opened, stream):
    """It is broken off, and stays charged, since it was billed."""
    with opened(Behaviour(faults=Faults(huge=1))) as place:
        if stream:
            with pytest.raises(Exception, match="longer than"):
                list(place.client().chat.completions.create(
                    model=DEEPSEEK, messages=[{"role": "user", "content": "hello"}], stream=True
                ))  # fmt: skip
        else:
            assert refusal(place.client()).code == "upstream_failed"
        assert place.charged()[0] > 0


def test_a_model_that_the_upstream_does_not_know(opened):
    with opened(Behaviour(models=("another",))) as place:
        told = refusal(place.client())
        assert (told.status_code, told.code) == (502, "upstream_misconfigured")


def test_usage_that_cannot_be_true_is_charged_as_reserved(opened):
    with opened(Behaviour(faults=Faults(wrong_usage=1))) as place:
        place.client().chat.completions.create(
            model=DEEPSEEK, messages=[{"role": "user", "content": "hello"}], max_tokens=64
        )
        assert place.charged()[0] > 64
