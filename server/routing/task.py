"""What kind of work a request is, where nobody says: guessed by a few marks, in microseconds.

Looked at are what the request has to offer (a schema, a limit of a few tokens, thinking), and the
first 800 and the last 300 characters of the last thing that the user said. Each mark found, a word
or a phrase, counts for its task; the task with the highest count wins, at equal counts the one that
stands first in `_WORDS`, and below a count of 2 it is conversation. A wrong guess costs little: the
floor of a task that was guessed is given up before a request is refused for it.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from server.chat.request import ChatRequest, CompletionRequest

CHAT = "chat"

_HEAD, _TAIL = 800, 300
_ENOUGH = 2
_FEW_TOKENS = 16
"""An answer of so few tokens is a label."""

_WORDS: Mapping[str, Mapping[int, str]] = {
    "coding": {
        1: "api bug class code compile compiler css deploy docker error function git html import "
        "js kubernetes lint method module npm null package pip rust script server shell sql test "
        "tests variable",
        2: "async bash debug def dockerfile java javascript kotlin python pytest refactor regex "
        "repository stacktrace struct typescript",
    },
    "translation": {
        2: "translation",
        3: "translate traduis traduce traduire übersetze übersetzen переведи",
    },
    "summarization": {
        1: "abstract shorten",
        2: "condense digest summary tldr zusammenfassung",
        3: "summarise summarize résume",
    },
    "classification": {
        1: "label spam category",
        2: "classification sentiment labels",
        3: "categorise categorize classify klassifiziere",
    },
    "extraction": {
        1: "fields parse",
        2: "entities",
        3: "extract extrahiere",
    },
    "reasoning": {
        1: "logic probability many puzzle sum",
        2: "calculate derive equation integer integral proof solve theorem berechne",
        3: "prove beweise",
    },
    "writing": {
        1: "novel story write letter email",
        2: "blog essay lyrics poem rephrase rewrite slogan gedicht",
    },
}
_PHRASES: Mapping[str, tuple[str, int]] = {
    "```": ("coding", 2),
    "traceback (most": ("coding", 3),
    "#include": ("coding", 3),
    "();": ("coding", 2),
    "select * from": ("coding", 3),
    "unit test": ("coding", 1),
    "tl;dr": ("summarization", 3),
    "key points": ("summarization", 2),
    "one of the following": ("classification", 2),
    "yes or no": ("classification", 2),
    "true or false": ("classification", 2),
    "as json": ("extraction", 2),
    "step by step": ("reasoning", 3),
}
_BEYOND_ASCII: Mapping[str, tuple[str, int]] = {
    text: (task, 3)
    for task, texts in {
        "coding": "代码 函数 コード",
        "translation": "翻译 翻訳 번역",
        "summarization": "总结 摘要 要約 요약",
        "classification": "分类 分類",
        "extraction": "提取 抽出",
        "reasoning": "证明 计算 解方程",
        "writing": "写一首 写一篇 故事",
    }.items()
    for text in texts.split()
}

_MARKS: Mapping[bytes, tuple[str, int]] = {
    word.encode(): (task, weight)
    for task, by_weight in _WORDS.items()
    for weight, words in by_weight.items()
    for word in words.split()
}
_MARKED = frozenset(_MARKS)
_PLAIN = bytes.maketrans(string.punctuation.encode(), b" " * len(string.punctuation))

GUESSED = (*_WORDS, CHAT)
"""Every task that can come of it."""


def infer(request: ChatRequest | CompletionRequest) -> str:
    """One of GUESSED."""
    counts = _offered(request)
    text = _said(request)
    plain = text.encode("utf-8", "replace").translate(_PLAIN)
    found = [_MARKS[word] for word in _MARKED.intersection(plain.split())]
    found += [mark for phrase, mark in _PHRASES.items() if phrase in text]
    if not text.isascii():
        found += [mark for phrase, mark in _BEYOND_ASCII.items() if phrase in text]
    for task, weight in found:
        counts[task] = counts.get(task, 0) + weight
    most = max(counts.values(), default=0)
    if most < _ENOUGH:
        return CHAT
    return next(task for task in _WORDS if counts.get(task) == most)


def _offered(request: ChatRequest | CompletionRequest) -> dict[str, int]:
    """What the request's fields count for."""
    found: dict[str, int] = {}
    if request.max_tokens is not None and request.max_tokens <= _FEW_TOKENS:
        found["classification"] = 1
    if isinstance(request, ChatRequest):
        form = (request.response_format or {}).get("type")
        if form in ("json_schema", "json_object"):
            found["extraction"] = 2
        if request.thinking:
            found["reasoning"] = 1
    return found


def _said(request: ChatRequest | CompletionRequest) -> str:
    """The beginning and the end of what is to be looked at, in lower case."""
    if isinstance(request, ChatRequest):
        text = next((_text(m) for m in reversed(request.messages) if m["role"] == "user"), "")
    else:
        text = request.prompt if isinstance(request.prompt, str) else ""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]} {text[-_TAIL:]}"
    return text.lower()


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")
