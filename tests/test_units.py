import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.units import format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("17", 17),
        ("64MiB", 64 * 1024**2),
        ("64 mib", 64 * 1024**2),
        ("200G", 200 * 1024**3),
        ("1.5 TB", 1_500_000_000_000),
        ("4kB", 4000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30", 30), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("7d", 604800)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "G", "-1", "1 parsec", "1e9", "1,5G", "nan", "0x10"])
def test_what_is_no_quantity_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_bytes(text)
    with pytest.raises(ValueError, match="such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (532_517_120, "507.8 MiB"),
        (1_219_356_936_888, "1.1 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_are_printed_in_binary_units(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (4.2, "4.2 s"),
        (59.97, "1m 00s"),
        (200, "3m 20s"),
        (3599.7, "1h 00m"),
        (18120, "5h 02m"),
        (183600, "2d 03h"),
    ],
)
def test_durations_are_printed_in_two_units_at_most(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=2**60))
def test_a_printed_size_reads_back_within_its_rounding(count: int) -> None:
    back = parse_bytes(format_bytes(count))
    assert abs(back - count) <= max(count * 0.05, 1)
