"""What kind of work a request is, where nobody says: guessed by a few marks, in microseconds.

Looked at are what the request has to offer (a schema, a limit of a few tokens, tools), and the
first 1,000 and the last 400 characters of the last thing that the user said. Each mark found counts
for its task; the task with the highest count wins, at equal counts the one that stands first below,
and below a count of 2 it is conversation. A wrong guess costs little: the floor of a task that was
guessed is given up before a request is refused for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.chat.request import ChatRequest, CompletionRequest

CHAT = "chat"

_HEAD, _TAIL = 1000, 400
_ENOUGH = 2
_FEW_TOKENS = 16
"""An answer of so few tokens is a label."""

_MARKS: Mapping[str, Mapping[str, int]] = {
    "coding": {
        "```": 2, "traceback (most recent": 3, "def ": 1, "class ": 1, "function": 1, "import ": 1,
        "#include": 3, "select * from": 3, "=> {": 2, "();": 2, "git ": 1, "refactor": 2,
        "unit test": 2, "bug": 1, "compile": 1, "code": 1, "python": 1, "javascript": 1,
        "typescript": 1, " rust ": 1, "c++": 1, "sql": 1, "regex": 2, "stack trace": 3,
        "pull request": 2, "implement": 1, "api": 1, ".py": 2, ".ts": 1, ".js": 1,
    },
    "translation": {
        "translate": 3, "translation": 2, "übersetze": 3, "traduis": 3, "traduce": 3, "翻译": 3,
        "翻訳": 3, "переведи": 3, "into english": 2, "into german": 2, "into french": 2,
        "into spanish": 2, "into chinese": 2, "ins deutsche": 2, "auf deutsch": 1,
    },
    "summarization": {
        "summarize": 3, "summarise": 3, "summary": 2, "tl;dr": 3, "key points": 2, "in short": 1,
        "fasse ": 2, "zusammen": 1, "résume": 3, "总结": 3, "要約": 3, "abstract of": 1,
    },
    "classification": {
        "classify": 3, "classification": 2, "categorize": 3, "categorise": 3, "which category": 3,
        "sentiment": 2, "spam": 1, "yes or no": 2, "true or false": 2, "one of the following": 2,
        "label": 1, "answer with one word": 2, "分类": 3, "klassifiziere": 3,
    },
    "extraction": {
        "extract": 3, "as json": 2, "list all": 1, "find all": 1, "fields": 1, "entities": 2,
        "fill in the": 1, "parse the": 1, "提取": 3, "extrahiere": 3,
    },
    "reasoning": {
        "prove": 3, "proof": 2, "step by step": 3, "theorem": 2, "solve": 2, "derive": 2,
        "calculate": 2, "how many": 1, "probability": 2, "equation": 2, "integral": 2, "puzzle": 2,
        "logic": 1, "why does": 1, "think carefully": 2, "证明": 3, "计算": 2, "beweise": 3,
        "berechne": 2,
    },
    "writing": {
        "write a story": 3, "poem": 3, "essay": 3, "blog post": 3, "short story": 3, "novel": 1,
        "write an email": 3, "cover letter": 3, "rewrite": 2, "rephrase": 2, "lyrics": 3,
        "gedicht": 3, "write a letter": 3, "slogan": 2,
    },
}  # fmt: skip

GUESSED = (*_MARKS, CHAT)
"""Every task that can come of it."""


def infer(request: ChatRequest | CompletionRequest) -> str:
    """One of GUESSED."""
    text = _said(request)
    best, most = CHAT, _ENOUGH - 1
    offered = _offered(request)
    for task, marks in _MARKS.items():
        count = offered.get(task, 0)
        for mark, weight in marks.items():
            if mark in text:
                count += weight
        if count > most:
            best, most = task, count
    return best


def _offered(request: ChatRequest | CompletionRequest) -> dict[str, int]:
    """What the request's fields count for."""
    found: dict[str, int] = {}
    if request.max_tokens is not None and request.max_tokens <= _FEW_TOKENS:
        found["classification"] = 1
    if isinstance(request, ChatRequest):
        if request.response_format is not None and request.response_format["type"] != "text":
            found["extraction"] = 2
        if request.thinking:
            found["reasoning"] = 1
    return found


def _said(request: ChatRequest | CompletionRequest) -> str:
    """In lower case."""
    if isinstance(request, ChatRequest):
        text = next((_text(m) for m in reversed(request.messages) if m["role"] == "user"), "")
    else:
        text = request.prompt if isinstance(request.prompt, str) else ""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    return text.lower()


def _text(message: Mapping[str, object]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    assert isinstance(content, list)
    return "\n".join(part["text"] for part in content if part["type"] == "text")
