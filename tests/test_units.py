import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.units import (
    USD,
    exact_money,
    format_bytes,
    format_duration,
    format_money,
    format_price,
    parse_bytes,
    parse_duration,
    parse_money,
    parse_price,
)


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


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("5 USD", 5_000_000_000),
        ("0.02usd", 20_000_000),
        (" $1,200.50 ", 1_200_500_000_000),
        ("0.000000001 USD", 1),
        ("1.5000000000000 USD", 1_500_000_000),
        ("0 USD", 0),
    ],
)
def test_money_is_read_as_people_write_it(text: str, nano: int) -> None:
    assert parse_money(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 EUR",
        "USD",
        "-5 USD",
        "1e3 USD",
        "1,00 USD",
        "$5 USD",
        ".5 USD",
        "\u0665 USD",
        "5 U",
    ],
)
def test_what_is_no_money_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match='such as "5 USD"'):
        parse_money(text)


def test_parts_of_a_nano_dollar_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 9 decimals"):
        parse_money("0.0000000001 USD")


@pytest.mark.parametrize(
    ("text", "nano"),
    [("0.40 USD/1M", 400_000_000), ("15 USD / 1M tokens", 15 * USD), ("$2/1m", 2 * USD)],
)
def test_prices_are_for_a_million_tokens(text: str, nano: int) -> None:
    assert parse_price(text) == nano


@pytest.mark.parametrize("text", ["0.40", "0.40 USD", "0.40 USD/1K", "0.40/1M", "/1M", "1 EUR/1M"])
def test_a_price_without_its_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_price(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (450, "$0.00000045"),
        (12_345_678, "$0.0123"),
        (100_000_000, "$0.10"),
        (999_999_999, "$1.00"),
        (1_234_000_000, "$1.23"),
        (12_500_000_000, "$12.50"),
        (12_345_678_901, "$12.35"),
        (1_200 * USD, "$1,200.00"),
        (123_456_789_999_999, "$123,456.79"),
        (-12_345_678, "-$0.0123"),
    ],
)
def test_money_is_printed_so_that_it_says_something(nano: int, text: str) -> None:
    assert format_money(nano) == text


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_exact_money_reads_back_to_the_nano(nano: int) -> None:
    assert parse_money(exact_money(nano)) == nano
    assert parse_price(format_price(nano)) == nano
    assert exact_money(-nano) == ("-" if nano else "") + exact_money(nano)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_printed_money_reads_back_within_its_rounding(nano: int) -> None:
    back = parse_money(format_money(nano))
    assert abs(back - nano) <= min(nano * 0.005, 0.005 * USD) + 1
    assert (back == 0) == (nano == 0)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_more_money_never_prints_as_less(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert parse_money(format_money(low)) <= parse_money(format_money(high))
