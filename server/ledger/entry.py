"""What the ledger keeps of a request, and what is written down before one leaves for a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.chat.usage import Usage
from server.record import record

NOTHING = Usage(0, 0)
Side = Literal["local", "cloud"]
Outcome = Literal["answered", "failed", "left", "interrupted"]
"""`failed`: the client was told an error. `left`: it went away. `interrupted`: Holdfast died;
charged at the reserved maximum."""


@record(kw_only=True)
class Entry:
    """One request, or an attempt at a cloud that cost something and that the request went on from.

    Nothing in it is text of a prompt or an answer.
    """

    time: float
    """When the request came: seconds since 1970, UTC."""
    request_id: str
    key_id: str
    """A key's id, or an address where no key is needed."""
    team: str | None = None
    endpoint: str
    asked: str
    """The model or alias in the request."""
    model: str
    """What answered it: a build, `qwen3.5-9b:q4_k_m`, or a cloud model; where nothing did, the
    build that was about to, or nothing."""
    route: Side
    provider: str | None = None
    reason: str = ""
    """Why it went there: `x-holdfast-reason`."""
    attempts: int = 1
    usage: Usage = NOTHING
    cost: int = 0
    """Nano-USD."""
    saved: int = 0
    """Nano-USD that the cheapest capable cloud would have cost more."""
    predicted_ttft: float | None = None
    """Seconds from the attempt's beginning to the first token, as foreseen and as they were."""
    ttft: float | None = None
    seconds: float = 0.0
    """Until the end of the answer: from when the request came or, where it went on elsewhere, from
    the beginning of the attempt."""
    waited: float = 0.0
    """Of `seconds`, those before the attempt, in which others failed. Not in the book."""
    outcome: Outcome = "answered"
    final: bool = True
    """False: an attempt after which the request went on elsewhere, or a shadow copy; its cost
    counts, and it is no request of its own."""
    shadow: str | None = None
    """The route whose shadow copy it is."""
    private: bool = False
    """Whether it was local-only: not a word about it leaves this machine either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One attempt at a cloud, about to be sent: the most it can cost, and what leaves."""

    time: float
    """Seconds since 1970, UTC."""
    request_id: str
    key_id: str
    """Whose words leave, also where others pay, as for a shadow copy; empty: no client's."""
    endpoint: str
    asked: str
    model: str
    provider: str
    host: str
    """Where the body goes: host, with the port where it is not 443."""
    body: bytes
    """Exactly what is sent. Only its length and its HMAC are kept."""
    cost: int
    """Nano-USD, the worst case. See `cost.worst`."""
    prompt_tokens: int
    output_tokens: int
    """The most that may be written, all choices together."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens
