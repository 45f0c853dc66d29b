"""Every error that a person or a client can meet, in one tree.

    HoldfastError
    |-- ConfigError          a configuration file, flag or variable is wrong          exit 2
    |-- RequestError         the client's request is wrong                            400
    |   |-- Unauthorized     no key, or one that is unknown or revoked                401
    |   |-- Forbidden        a web page where no key protects the server; a role     403
    |   |-- NotFound         no such route                                            404
    |   |-- ModelNotFound    no such model; the nearest names are given               404
    |   |-- MethodNotAllowed                                                          405
    |   |-- BodyTooLarge     refused while it is still arriving                       413
    |   |-- UnsupportedEncoding  a compressed body                                    415
    |   |-- ContextExceeded  prompt and answer do not fit the context                 400
    |   |-- NoRoute          nothing that may serve the request can do what it asks   400
    |   `-- NoThreads        a conversation that is to be kept; clients then send it all 400
    |-- Overloaded           every slot is busy and the queue is full                 429
    |-- RateLimited          a key, team or provider has had its share of this minute 429
    |-- BudgetExceeded       the money or tokens of a day or month are spent          429
    |-- LedgerUnavailable    no cloud: what it would cost cannot be written down 503, exit 3
    |-- ProviderError        a cloud broke, or its answer cannot be read         502, exit 6
    |   |-- ProviderBusy     it is overloaded, or limits us: later, or elsewhere 503, exit 6
    |   |-- ProviderUnreachable  nothing was sent: no name, no route, no TLS    502, exit 6
    |   `-- ProviderRefused  it does not take our key, or account has no credit  502, exit 6
    |-- EngineError          an engine broke, or could not be started            502, exit 3
    |   |-- EngineMissing    no usable engine program on this machine            503, exit 3
    |   |-- EngineUnready    loading, draining or stopped                        503, exit 3
    |   `-- DoesNotFit       bytes needed and free are given                     503, exit 3
    |-- StoreError           weights are absent, damaged or malformed            503, exit 4
    |   |-- StoreLocked      another program writes to the store                 503, exit 4
    |   `-- HubError         a hub or a copy cannot be reached, or refuses       503, exit 6
    |       `-- NotOnHub     the hub answers that it does not have this          503, exit 6
    `-- BindError            the address cannot be listened on                        exit 5

Each carries *what* happened, *why*, and the *next step*; whose *fault* it is; the HTTP status and
OpenAI error type and code; and the command line's exit code. Anything that is not a HoldfastError
is a bug: it exits 1, or answers 500, with an incident number and no detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Fault = Literal["client", "operator", "engine", "provider", "holdfast"]


class HoldfastError(Exception):
    """The root.

    `what` is a sentence without a full stop; `why` and `next_step` likewise, and may be empty
    where `what` says it all. `param` names the request field or configuration key at fault.
    """

    fault: ClassVar[Fault] = "holdfast"
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    exit_code: ClassVar[int] = 1
    lasting: ClassVar[bool] = False
    """Whether the same request meets it again until somebody does something about it."""

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        next_step: str = "",
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.what = what
        self.why = why
        self.next_step = next_step
        self.param = param
        self.retry_after = retry_after
        """Whole seconds after which the same request may succeed; None: no use in repeating it."""
        self.said: Sequence[Any] = ()
        """Events of a stream that came with this error, right before it; see chat.decoder."""
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """What, why and the next step as one line of text."""
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.next_step:
            text += f". {self.next_step}"
        return text if text.endswith((".", "?", "!")) else text + "."

    def openai_body(self) -> dict[str, dict[str, str | None]]:
        """The error as OpenAI writes it, `{"error": {"message", "type", "param", "code"}}`.

        The message begins with a capital, unless it does with a name such as `qwen3.5-9b`.
        """
        message = self.sentence
        if message.partition(" ")[0].isalpha():
            message = message[0].upper() + message[1:]
        return {
            "error": {
                "message": message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def anthropic_body(self, request_id: str) -> dict[str, Any]:
        """The error as Anthropic writes it: `{"type": "error", "error": {"type", "message"}}`, with
        the code, where there is one, as `details.error_code`."""
        kind = _ANTHROPIC_TYPES.get(self.status, "api_error")
        error: dict[str, Any] = {"type": kind, "message": self.openai_body()["error"]["message"]}
        if self.code is not None:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error, "request_id": request_id}


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


class ConfigError(HoldfastError):
    """One or more problems with the configuration; all of them are told at once."""

    fault = "operator"
    code = "invalid_configuration"
    exit_code = 2

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), next_step: str = "") -> None:
        self.problems = problems
        super().__init__(what, why="; ".join(problems), next_step=next_step)


class RequestError(HoldfastError):
    fault = "client"
    status = 400
    type = "invalid_request_error"
    exit_code = 2


class Unauthorized(RequestError):
    status = 401
    code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"


class NotFound(RequestError):
    status = 404
    code = "not_found"


class ModelNotFound(RequestError):
    status = 404
    code = "model_not_found"


class MethodNotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"


class BodyTooLarge(RequestError):
    status = 413
    code = "request_too_large"


class UnsupportedEncoding(RequestError):
    status = 415
    code = "unsupported_encoding"


class ContextExceeded(RequestError):
    code = "context_length_exceeded"


class NoRoute(RequestError):
    code = "no_route"


class NoThreads(RequestError):
    code = "thread_unsupported_request"  # Anthropic's own, on which its SDKs go on without


class Overloaded(HoldfastError):
    fault = "operator"
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    exit_code = 3


class RateLimited(HoldfastError):
    fault = "operator"
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    exit_code = 3


class BudgetExceeded(HoldfastError):
    """Never to be retried at once: `retry_after` is None, or the time until the budget begins anew
    where that is near."""

    fault = "operator"
    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    lasting = True
    exit_code = 3


class LedgerUnavailable(HoldfastError):
    fault = "operator"
    status = 503
    code = "ledger_unavailable"
    exit_code = 3


class ProviderError(HoldfastError):
    """What a cloud did, in our words; of its own text only what concerns the client's request."""

    fault: ClassVar[Fault] = "provider"
    status = 502
    code = "provider_error"
    exit_code = 6
    retryable: ClassVar[bool] = True
    """Whether the same request may succeed at the same target a little later."""


class ProviderBusy(ProviderError):
    status = 503
    code = "provider_busy"


class ProviderUnreachable(ProviderError):
    code = "provider_unreachable"


class ProviderRefused(ProviderError):
    fault = "operator"
    code = "provider_refused"
    lasting = True
    retryable = False


class EngineError(HoldfastError):
    fault: ClassVar[Fault] = "engine"
    status = 502
    code = "engine_error"
    exit_code = 3


class EngineMissing(EngineError):
    fault = "operator"
    status = 503
    code = "engine_missing"
    lasting = True


class EngineUnready(EngineError):
    status = 503
    code = "engine_unready"


class DoesNotFit(EngineError):
    fault = "operator"
    status = 503
    code = "model_does_not_fit"


class StoreError(HoldfastError):
    fault = "operator"
    status = 503
    code = "weights_unusable"
    lasting = True
    exit_code = 4


class StoreLocked(StoreError):
    code = "store_locked"
    lasting = False


class HubError(StoreError):
    code = "hub_unavailable"
    lasting = False
    exit_code = 6


class NotOnHub(HubError):
    code = "not_on_hub"


class BindError(HoldfastError):
    fault = "operator"
    exit_code = 5
