"""PDFs as the fake providers read them: whole ones only, and their pages counted."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_PAGE = re.compile(rb"/Type\s*/Page\b")


@dataclass(frozen=True, slots=True)
class Paper:
    name: str
    """As the model is told; empty: it is not."""
    pages: int
    size: int
    """Characters of its base64."""


def paper(name: str, data: str) -> Paper:
    """Raises ValueError for base64 that is no whole PDF."""
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("invalid base64") from error
    if not raw.startswith(b"%PDF-") or not raw.rstrip().endswith(b"%%EOF"):
        raise ValueError("not a PDF")
    return Paper(name, len(_PAGE.findall(raw)), len(data))
