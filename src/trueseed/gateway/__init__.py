"""Other tools' way to teachers, under the same terms, allowance and ledger: an OpenAI-compatible proxy on loopback.

    settings   what `gateway.yaml` says
    wanted     what a client asks for, read once
    ticket     a call as desk, relay and journal pass it on
    door       an open step for every source and use, and the journal of its calls
    desk       admission before a call leaves, settlement before its answer does
    journal    a line for every settled call, now or as soon as there is room
    events     a stream's events, whole
    relay      an answer on its way to the client
    faults     every way of being turned away, as OpenAI's clients know errors
    metrics    what is counted, for Prometheus
    app        the routes
    offer      all of it, opened in order and closed again
    workers    several of them on one port

A call: read → admitted (key, model, use, terms, holds, budget and allowance; committed) → forwarded → settled
(committed, journalled) → the end of the answer is let go. The journal is sealed into the ledger in batches.
"""

from trueseed.errors import ConfigError

try:
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as err:
    raise ConfigError("the gateway needs an HTTP server and client; pip install 'trueseed[gateway]'") from err
