"""The gateway of a workspace: what it needs is opened in order, and closed again."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from trueseed.access import listen
from trueseed.access.guard import LOOPBACK
from trueseed.access.keys import Keys
from trueseed.gateway.app import PATIENCE_S, Gateway
from trueseed.gateway.desk import Desk
from trueseed.gateway.door import Door
from trueseed.gateway.settings import Config
from trueseed.similarity.remembered import ANSWERS, Remembered
from trueseed.teachers.account.allowance import Allowance
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.forward import Upstream
from trueseed.workspace import Workspace


@contextmanager
def gateway(workspace: Workspace, config: Config, hosts: tuple[str, ...] = LOOPBACK) -> Iterator[ASGIApp]:
    """The service, open until the block ends; then everything it did is sealed.

    Raises `ConfigError` for an upstream without address or key, `Refused` for one without a price,
    `AccountUnavailable`.
    """
    upstreams = {endpoint.source: Upstream.of(endpoint) for endpoint in config.upstreams}
    account = Account.open(config.account)
    holds = Holds(account, config.entity)
    holds.restore(workspace.ledger)

    def desk() -> Desk:
        return Desk(
            upstreams,
            offered={each.source: each for each in config.upstreams},
            account=account,
            keys=Keys(account),
            door=Door(workspace),
            allowance=Allowance(account, config.limits, config.entity),
            holds=holds,
            remembered=Remembered(workspace.folder / ANSWERS),
        )

    opened = Gateway(desk, config)
    try:
        yield opened.app(hosts)
    finally:
        opened.close()


def over_http(workspace: Workspace, config: Config, *, host: str, port: int) -> None:
    """Serves until Ctrl-C or SIGTERM. Raises as `gateway`, and `ConfigError` when the port cannot be opened."""
    with gateway(workspace, config, hosts(host)) as service:
        (opened,) = listen.open_port(host, port)
        with opened, listen.ending_quietly():
            listen.say(listen.address(host, opened))
            serve(service, opened)


def serve(service: ASGIApp, opened: socket, began: Callable[[uvicorn.Server], None] = lambda _: None) -> None:
    """On an open port, until Ctrl-C or SIGTERM, or until the server that `began` is told of is told to end."""
    gc.collect()
    gc.freeze()  # what stands now stands to the end; to look through it again and again took 5 % of the time
    gc.set_threshold(20_000, 20, 100)
    server = uvicorn.Server(listen.settings(service, patience_s=PATIENCE_S))
    began(server)
    server.run(sockets=[opened])


def hosts(host: str) -> tuple[str, ...]:
    """The names that a service listening on `host` answers to."""
    return LOOPBACK if host in LOOPBACK else (*LOOPBACK, host)
