"""Leave for one request to go to a cloud. Without one, `egress.py` sends nothing.

It can only be had by way of `permit`, which refuses whatever may not leave, and what nothing has
been reserved for; it cannot be changed, and egress asks it once more. Whatever the router may
decide by mistake, a request that is local-only stays here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, final

from server.catalogue.router import Router
from server.errors import HoldfastError, LedgerUnavailable, NoRoute


class Private(Protocol):
    """What knows whether a request may leave: its needs, and what was decided on them."""

    @property
    def local_only(self) -> bool: ...

    @property
    def private_because(self) -> str: ...


class Reserved(Protocol):
    """What a request may cost, set aside for it."""

    @property
    def open(self) -> bool:
        """Whether it is written down for good, and not settled yet."""
        ...

    @property
    def host(self) -> str:
        """Whither the body goes that it was written down for."""
        ...

    @property
    def body(self) -> bytes: ...


_SEAL: Final = object()


@final
@dataclass(frozen=True, slots=True)
class Permit:
    """For one sending of one body to one host. Made by `permit`, and by nothing else."""

    asking: tuple[Private, ...]
    router: Router
    hold: Reserved
    seal: object

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("a Permit is made by permit() only")

    def check(self, host: str, body: bytes) -> None:
        """Raises what forbids that `body` is sent to `host`."""
        _check(self.asking, self.router, self.hold)
        if (self.hold.host, self.hold.body) != (host, body):
            raise LedgerUnavailable("what is to be sent is not what was written down")


def permit(*asking: Private, router: Router, hold: Reserved) -> Permit:
    """Leave to send what `hold` was made for, if none of `asking` (one at least) keeps it here.

    Raises NoRoute for a request that may not leave this machine, and LedgerUnavailable where
    nothing is reserved.
    """
    _check(asking, router, hold)
    return Permit(asking, router, hold, _SEAL)


def check_may_leave(*asking: Private, router: Router) -> None:
    """Raises NoRoute for a request that may not leave this machine: before a word about it is
    written down as leaving."""
    private = [one for one in asking if one.local_only is not False]
    if not router.cloud:
        raise _stays("clouds are switched off ([router] cloud = false, or --no-cloud)")
    if private or not asking:
        raise _stays(private[0].private_because if private else "nothing says that it may leave")


def _check(asking: tuple[Private, ...], router: Router, hold: Reserved) -> None:
    check_may_leave(*asking, router=router)
    if hold.open is not True:
        raise LedgerUnavailable(
            "nothing is reserved for this request", next_step="Ask for a local model meanwhile"
        )


def _stays(why: str) -> HoldfastError:
    return NoRoute(
        "this request may not leave this machine",
        why=why,
        next_step="Ask for a model that runs here",
    )
