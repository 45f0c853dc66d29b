from __future__ import annotations

import pytest

from server.chat.images import MAX_IMAGE_BYTES, read_picture
from server.errors import RequestError
from tests.chat.pictures import gif, jpeg, png, url, webp_extended, webp_lossless, webp_lossy
from tests.effort import cpu_seconds


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (png, "png"),
        (jpeg, "jpeg"),
        (gif, "gif"),
        (webp_extended, "webp"),
        (webp_lossy, "webp"),
        (webp_lossless, "webp"),
    ],
)
def test_the_bytes_say_what_it_is_and_how_large(make: object, kind: str) -> None:
    assert callable(make)
    assert read_picture(url(make(640, 480)), "p").kind == kind
    assert read_picture(url(make(640, 480), "jpeg"), "p").kind == kind
    with pytest.raises(RequestError, match="16000 x 15000 pixels"):
        read_picture(url(make(16000, 15000)), "p")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://169.254.169.254/latest/meta-data", "http: URLs are not fetched"),
        ("https://example.org/a.png", "https: URLs are not fetched"),
        ("HTTPS://example.org/a.png", "https: URLs are not fetched"),
        ("file:///etc/passwd", "file: URLs are not fetched"),
        ("ftp://example.org/a.png", "ftp: URLs are not fetched"),
        ("//example.org/a.png", "not a base64 data: URL"),
        ("http\\\\:example.org", "not a base64 data: URL"),
        (" data:image/png;base64,AAAA", "not a base64 data: URL"),
        ("data:text/html;base64,AAAA", "not a base64 data: URL"),
        ("data:image/svg+xml;base64,AAAA", "not a base64 data: URL"),
        ("data:image/png,AAAA", "not a base64 data: URL"),
        ("iVBORw0KGgo=", "not a base64 data: URL"),
        ("", "not a base64 data: URL"),
        ("data:image/png;base64,", "not a readable PNG"),
        ("data:image/png;base64,AAAA", "not a readable PNG"),
        ("data:image/png;base64,AA AA", "base64 is malformed"),
        ("data:image/png;base64,AAA", "base64 is malformed"),
        ("data:image/png;base64,AAAA,http://example.org", "base64 is malformed"),
        ("data:image/png;base64,AA=A", "base64 is malformed"),
        ("data:image/png;base64,A===", "base64 is malformed"),
        ("data:image/png;base64,AA-_", "base64 is malformed"),
        ("data:image/png;base64,AAA\n", "base64 is malformed"),
        ("data:image/png;base64,ÀÀÀÀ", "base64 is malformed"),
    ],
)
def test_anything_else_is_refused(address: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_picture(address, "messages[0].content[1].image_url.url")
    assert says in caught.value.why
    assert caught.value.param == "messages[0].content[1].image_url.url"


def test_how_to_send_one_instead_is_said() -> None:
    with pytest.raises(RequestError, match="Send the image itself as data:image/png;base64"):
        read_picture("https://example.org/a.png", "p")


@pytest.mark.parametrize("address", [None, 1, [], {}])
def test_the_url_is_a_string(address: object) -> None:
    with pytest.raises(RequestError, match="expected a string"):
        read_picture(address, "p")


@pytest.mark.parametrize("make", [png, jpeg, gif, webp_extended, webp_lossy, webp_lossless])
def test_a_picture_cut_anywhere_is_still_only_a_refusal(make: object) -> None:
    assert callable(make)
    data = make(64, 64)
    for end in range(len(data)):
        try:
            read_picture(url(data[:end]), "p")
        except RequestError as error:
            assert "not a readable" in error.why  # noqa: PT017


def test_the_size_of_a_jpeg_may_stand_far_behind() -> None:
    assert read_picture(url(jpeg(64, 64, preview=60_000)), "p").kind == "jpeg"
    with pytest.raises(RequestError, match="16000 x 15000 pixels"):
        read_picture(url(jpeg(16000, 15000, preview=60_000)), "p")


def test_empty_pictures_are_refused() -> None:
    with pytest.raises(RequestError, match="not a readable"):
        read_picture(url(png(0, 10)), "p")


def test_the_size_is_bounded_and_checked_fast() -> None:
    largest = url(png(10, 10, padding=MAX_IMAGE_BYTES - 200))
    assert read_picture(largest, "p").kind == "png"
    assert cpu_seconds(lambda: read_picture(largest, "p")) < 0.5
    with pytest.raises(RequestError, match="more than the 20"):
        read_picture(url(png(10, 10, padding=MAX_IMAGE_BYTES)), "p")


@pytest.mark.parametrize("segment", [b"\xff", b"\xff\xe0\0\0", b"\xff\xe0\0\2"])
def test_a_jpeg_is_not_followed_for_ever(segment: bytes) -> None:
    data = b"\xff\xd8\xff" + segment * ((MAX_IMAGE_BYTES - 3) // len(segment))
    endless = url(data)

    def refused() -> None:
        with pytest.raises(RequestError, match="not a readable"):
            read_picture(endless, "p")

    assert cpu_seconds(refused) < 0.5
