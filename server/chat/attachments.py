"""The pictures and documents of one request, within the bounds of all together."""

from __future__ import annotations

from typing import Any

from server.chat.checks import invalid
from server.chat.documents import MAX_DOCUMENTS, document_part
from server.chat.images import MAX_IMAGES, MAX_PIXELS_TOGETHER, read_picture


class Attachments:
    """Laid out for the many requests that have none: of those nothing is kept."""

    pages = 0
    """Of the documents; 0: there are none."""
    image_types: frozenset[str] = frozenset()
    """Kinds of the pictures."""
    _documents = 0
    _pictures = 0
    _pixels = 0

    def add_picture(self, url: Any, name: str) -> None:
        """Raises RequestError for one that read_picture refuses, and for one too many."""
        if self._pictures == MAX_IMAGES:
            raise invalid(name, f"a request may hold at most {MAX_IMAGES} images")
        picture = read_picture(url, name)
        self._pixels += picture.pixels
        if self._pixels > MAX_PIXELS_TOGETHER:
            million = MAX_PIXELS_TOGETHER // 10**6
            why = f"with it, the request's images have more than {million} million pixels together"
            raise invalid(name, why)
        self._pictures += 1
        self.image_types |= {picture.kind}

    def add_document(self, url: Any, title: Any, name: str, titled: str) -> dict[str, Any]:
        """Its content part. Raises RequestError for one that document_part refuses, and for one
        too many."""
        if self._documents == MAX_DOCUMENTS:
            raise invalid(name, f"a request may hold at most {MAX_DOCUMENTS} documents")
        part = document_part(url, title, name, titled)
        self._documents += 1
        self.pages += part["document"]["pages"]
        return part
