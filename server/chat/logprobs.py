"""Log probabilities: llama-server gives both endpoints the chat's shape; this makes OpenAI's.

vLLM gives each endpoint its own.
"""

from __future__ import annotations

from typing import Any


def chosen_only(choice: dict[str, Any]) -> None:
    """Drops the alternatives of a chat choice: the client asked for the chosen tokens alone.

    The engine gives nothing for `top_logprobs: 0`, so it is asked for one.
    """
    for entry in _entries(choice):
        entry["top_logprobs"] = []


def make_legacy(choice: dict[str, Any], top: int, offset: int) -> int:
    """Gives a text completion's choice the `logprobs` of its endpoint: four parallel lists.

    `top` is how many alternatives the client asked for, `offset` the characters of this choice's
    text already sent. Returns the offset after it.
    """
    if choice.get("logprobs") is None:
        return offset + len(choice.get("text") or "")
    if "tokens" in choice["logprobs"]:  # vLLM's, which for no alternatives lists the chosen ones
        if not top:
            choice["logprobs"]["top_logprobs"] = None
        return offset + len(choice.get("text") or "")
    tokens, values, alternatives, offsets = [], [], [], []
    for entry in _entries(choice):
        tokens.append(entry["token"])
        values.append(entry["logprob"])
        alternatives.append({one["token"]: one["logprob"] for one in entry["top_logprobs"][:top]})
        offsets.append(offset)
        offset += len(entry["token"])
    choice["logprobs"] = {
        "tokens": tokens,
        "token_logprobs": values,
        "top_logprobs": alternatives if top else None,
        "text_offset": offsets,
    }
    return offset


def read_logprobs(entries: Any) -> list[dict[str, Any]]:
    """Entries of a chat choice with the keys that OpenAI's have, whoever sent them.

    The bytes of a token are those of its text where they are not told. Raises TypeError or
    LookupError for what is no such list.
    """
    if type(entries) is not list:
        raise TypeError("log probabilities are a list")
    return [
        {**_token(entry), "top_logprobs": [_token(one) for one in entry.get("top_logprobs") or ()]}
        for entry in entries
    ]


def _token(entry: dict[str, Any]) -> dict[str, Any]:
    token, logprob, raw = entry["token"], entry["logprob"], entry.get("bytes")
    if type(token) is not str or type(logprob) not in (int, float):
        raise TypeError("a token is a string with a number")
    told = raw if type(raw) is list else list(token.encode())
    return {"token": token, "logprob": logprob, "bytes": told}


def _entries(choice: dict[str, Any]) -> list[dict[str, Any]]:
    logprobs = choice.get("logprobs")
    return (logprobs.get("content") or []) if isinstance(logprobs, dict) else []
