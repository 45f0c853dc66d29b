"""Bytes, durations and money, as people write and read them.

Binary prefixes (KiB, MiB, GiB, TiB) are powers of 1024 and are what Holdfast prints; decimal ones
(kB, MB, GB, TB) are powers of 1000; a bare K, M, G or T is binary, as in most tools' flags.

Money is a whole number of nano-USD everywhere, so that every sum is exact.
"""

from __future__ import annotations

import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3
TIB = 1024**4
USD = 10**9
"""Nano-USD of a dollar."""

_BYTES = {
    "": 1, "b": 1,
    "k": KIB, "kib": KIB, "kb": 1000,
    "m": MIB, "mib": MIB, "mb": 1000**2,
    "g": GIB, "gib": GIB, "gb": 1000**3,
    "t": TIB, "tib": TIB, "tb": 1000**4,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_DIGITS = 9  # of a dollar's fraction in nano-USD
_AMOUNT = r"(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?"
_MONEY = re.compile(rf"\s*(?:\$\s*{_AMOUNT}|{_AMOUNT}\s*USD)\s*", re.IGNORECASE | re.ASCII)
_PER_MILLION = re.compile(r"\s*/\s*1\s*M(?:\s*tokens)?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """`"64MiB"`, `"200G"`, `"1.5 TB"` or a plain count -> bytes. Raises ValueError."""
    return int(_parse(text, _BYTES, "a size such as 64MiB, 200G or 1.5TB"))


def parse_duration(text: str) -> float:
    """`"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"` or plain seconds -> seconds. Raises ValueError."""
    return _parse(text, _SECONDS, "a duration such as 250ms, 30s, 5m, 2h or 7d")


def parse_money(text: str) -> int:
    """`"5 USD"`, `"0.02 USD"` or `"$1,200.50"` -> nano-USD, exactly. Raises ValueError."""
    expected = 'an amount such as "5 USD" or "0.02 USD"'
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {expected}")
    whole, fraction = (match[1], match[2]) if match[1] else (match[3], match[4])
    fraction = (fraction or "").rstrip("0")
    if len(fraction) > _DIGITS:
        raise ValueError(f"{text!r} has parts of a nano-dollar: at most {_DIGITS} decimals")
    return int(whole.replace(",", "")) * USD + int(fraction.ljust(_DIGITS, "0"))


def parse_price(text: str) -> int:
    """`"0.40 USD/1M"` -> nano-USD for a million tokens. Raises ValueError."""
    amount, slash, _ = text.partition("/")
    if not _PER_MILLION.fullmatch(text[len(amount) :]) or not slash:
        raise ValueError(f'{text!r} is not a price such as "0.40 USD/1M"')
    return parse_money(amount)


def format_bytes(count: int) -> str:
    """Bytes in the largest binary unit that leaves a number of at least one: `"1.6 GiB"`."""
    for unit, size in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def format_duration(seconds: float) -> str:
    """Seconds as `"340 ms"`, `"4.2 s"`, `"3m 20s"`, `"5h 02m"` or `"2d 03h"`."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def format_money(nano: int) -> str:
    """Nano-USD for people: `"$0.0123"`, `"$12.50"`, `"$1,200.00"`, `"-$0.00000045"`.

    At least two decimals, and three digits that say something; what is not zero never reads as
    zero. `exact_money` loses nothing.
    """
    size = abs(nano)
    kept = max(10 ** max(len(str(size)) - 3, 0), 1)
    if size >= USD:
        kept = min(kept, USD // 100)
    dollars, fraction = divmod((size + kept // 2) // kept * kept, USD)
    return f"{'-' if nano < 0 else ''}${dollars:,}.{_decimals(fraction)}"


def exact_money(nano: int) -> str:
    """Nano-USD, every one of them, as `parse_money` reads it: `"12.50 USD"`."""
    dollars, fraction = divmod(abs(nano), USD)
    return f"{'-' if nano < 0 else ''}{dollars}.{_decimals(fraction)} USD"


def format_price(nano: int) -> str:
    """Nano-USD for a million tokens, exactly: `"0.40 USD/1M"`."""
    return f"{exact_money(nano)}/1M"


def _decimals(fraction: int) -> str:
    return f"{fraction:0{_DIGITS}d}".rstrip("0").ljust(2, "0")


def _parse(text: str, units: dict[str, float] | dict[str, int], expected: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{text!r} is not {expected}")
    return float(match[1]) * units[match[2].lower()]
