"""Text for a terminal of some width, or for a file: paragraphs that hang, and colours."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

_LONGEST_LEAD = 20
_NARROWEST = 60
"""Columns below which text is no longer wrapped tighter: a terminal then breaks it by itself."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What is written to."""

    width: int | None
    """Columns of the terminal; None: not a terminal, so nothing is wrapped and no bar is drawn."""
    unicode: bool = True
    """Whether block characters can be shown."""
    colour: bool = False

    @classmethod
    def stdout(cls) -> Screen:
        terminal = sys.stdout.isatty()
        return cls(
            width=max(_NARROWEST, shutil.get_terminal_size().columns) if terminal else None,
            unicode=_can_show("█░▒", sys.stdout.encoding or "ascii"),
            colour=terminal and "NO_COLOR" not in os.environ,
        )

    def paragraph(self, text: str, *, lead: Text | str = "", style: str = "") -> list[Text]:
        """`lead`, then `text`, whose further lines begin below where it began; of a long lead, a
        little to the right of where that began."""
        lead = lead if isinstance(lead, Text) else Text(lead)
        begin = len(lead.plain) - len(lead.plain.lstrip())
        if self.width is not None and len(lead) > self.width - 20:
            text, lead = lead.plain.lstrip() + text, Text(" " * begin)
        gap = len(lead) if len(lead) - begin <= _LONGEST_LEAD else begin + 3
        return self._wrapped(text, lead, gap, style)

    def column(self, text: str, *, lead: Text, style: str = "") -> list[Text]:
        """`lead`, then `text` as a column of its own to the right of it."""
        return self._wrapped(text, lead, len(lead), style)

    def _wrapped(self, text: str, lead: Text, gap: int, style: str) -> list[Text]:
        rows = [text]
        if self.width is not None and text:
            rows = textwrap.wrap(
                text,
                max(gap + 20, self.width),
                initial_indent=" " * len(lead),
                subsequent_indent=" " * gap,
                break_long_words=False,
                break_on_hyphens=False,
            )
            rows[0] = rows[0][len(lead) :]
        first, *rest = rows
        return [Text.assemble(lead, (first, style)), *(Text(row, style) for row in rest)]

    def render(self, lines: Iterable[Text]) -> str:
        """The lines as one text, with the terminal's codes for colours where it has any."""
        console = Console(
            file=io.StringIO(),
            force_terminal=self.colour,
            no_color=not self.colour,
            color_system="standard" if self.colour else None,
            highlight=False,
            soft_wrap=True,
        )
        with console.capture() as captured:
            for line in lines:
                line.rstrip()
                console.print(line)
        return captured.get().rstrip("\n")


def heading(text: str) -> list[Text]:
    """An empty line, then a heading."""
    return [Text(), Text(text, style="bold")]


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
