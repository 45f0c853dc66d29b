"""Documents and search results in Anthropic's turns: as the text that they are, or as PDFs.

Models are told the text under its title; a search result has its source there, too. A PDF stays
what it is (chat/documents.py). A file that Anthropic keeps and an address to fetch are refused by
what they are.
"""

from __future__ import annotations

from typing import Any

from server.chat.checks import array, invalid, mapping, wrong_type
from server.chat.messages import MAX_PARTS


def pdf_url(block: dict[str, Any], name: str) -> str | None:
    """The PDF of a document as a `data:` URL, yet to be checked; None: it is none. Raises
    RequestError naming the place."""
    source = mapping(block.get("source"), f"{name}.source")
    if source.get("type") != "base64" or source.get("media_type") != "application/pdf":
        return None
    return f"data:application/pdf;base64,{string_in(source, 'data', f'{name}.source')}"


def document_text(block: dict[str, Any], name: str) -> str:
    """Of one that is no PDF. Raises RequestError naming the place."""
    source = mapping(block.get("source"), f"{name}.source")
    kind = source.get("type")
    if kind == "text":
        text = string_in(source, "data", f"{name}.source")
    elif kind == "content":
        text = _joined(source.get("content"), f"{name}.source.content")
    else:
        what = source.get("media_type") or f"a source of type '{kind}'"
        why = f"PDFs and plain text are taken, in the request itself, and this is {str(what)[:64]}"
        raise invalid(f"{name}.source.type", why, "Send it as base64, or its text")
    about = [block[key] for key in ("title", "context") if type(block.get(key)) is str]
    return "\n\n".join([*about, text])


def result_text(block: dict[str, Any], name: str) -> str:
    """Of a search result. Raises RequestError naming the place."""
    title, source = string_in(block, "title", name), string_in(block, "source", name)
    return f"{title}\n{source}\n\n{_joined(block.get('content'), f'{name}.content')}"


def string_in(block: dict[str, Any], key: str, name: str) -> str:
    text = block.get(key)
    if type(text) is not str:
        raise wrong_type(f"{name}.{key}", "a string", text)
    return text


def _joined(content: Any, name: str) -> str:
    """A string, or blocks of text."""
    if type(content) is str:
        return content
    texts = []
    for index, one in enumerate(array(content, name, longest=MAX_PARTS)):
        place = f"{name}[{index}]"
        if mapping(one, place).get("type") != "text":
            raise invalid(f"{place}.type", "it holds blocks of type 'text', and nothing else")
        texts.append(string_in(one, "text", place))
    return "\n".join(texts)
