"""Pictures through Holdfast to a real llama-server, with an image encoder of random weights."""

from __future__ import annotations

import base64
import contextlib
import os
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest
from openai.types.chat import ChatCompletion

from server import demo
from tests.integration import vision
from tests.integration.running import Holdfast, holdfast, run
from tests.integration.vision import gif, jpeg, png

pytestmark = pytest.mark.integration

QUESTION = demo.question("what-is-holdfast").prompt
AROUND = 2  # <|vision_start|> and <|vision_end|>, beside the tokens of the picture itself
URL = "messages[0].content[0].image_url.url"


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def ask(*urls: str, **more: Any) -> dict[str, Any]:
    """A request that shows pictures and then asks the question."""
    content = [
        *({"type": "image_url", "image_url": {"url": url}} for url in urls),
        {"type": "text", "text": QUESTION},
    ]
    return {
        "model": "seeing",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
    } | more


def likelihoods(client: openai.OpenAI, *urls: str) -> dict[str, float]:
    """How likely the best first tokens are to the model: a fingerprint of what it was shown."""
    answer = client.chat.completions.create(
        **ask(*urls, max_tokens=1, logprobs=True, top_logprobs=5)
    )
    return {top.token: top.logprob for top in answer.choices[0].logprobs.content[0].top_logprobs}


def same(expected: dict[str, float]) -> Any:
    """Equal but for the last bits, which depend on what is computed beside it."""
    return pytest.approx(expected, abs=0.01)


def prompt_tokens(client: openai.OpenAI, *urls: str) -> int:
    return prompt_of(client.chat.completions.create(**ask(*urls, max_tokens=1)))


def prompt_of(answer: ChatCompletion) -> int:
    assert answer.usage is not None
    return answer.usage.prompt_tokens


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """What is started meanwhile computes on one core: on a busy machine, threads that wait for each
    other after every layer take minutes for what one alone does in seconds."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holdfast]:
    folder = tmp_path_factory.mktemp("seeing")
    config = vision.write_model(folder / "model")
    (folder / "bin").mkdir()
    for name in ("ffprobe", "ffmpeg"):  # which no client's bytes may reach
        trap = folder / "bin" / name
        trap.write_text(f"#!/bin/sh\necho {name} >> {folder / 'trapped'}\nexit 1\n")
        trap.chmod(0o755)
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    with contextlib.ExitStack() as stack:
        with one_core():
            served = holdfast(folder / "home", "seeing", "--config", str(config), extra=path)
            running = stack.enter_context(served)
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def client(seeing: Holdfast) -> openai.OpenAI:
    return seeing.client()


@pytest.fixture(scope="module")
def engine(seeing: Holdfast) -> psutil.Process:
    """The engine that must outlive whatever it is shown."""
    return psutil.Process(seeing.engine()["pid"])


def test_it_says_that_it_sees(client: openai.OpenAI) -> None:
    served = [model for model in client.models.list() if model.id.startswith("seeing")]
    assert len(served) == 2
    for model in served:
        assert model.model_dump()["input_modalities"] == ["text", "image"], model.id


def test_text_alone_is_answered_as_ever(client: openai.OpenAI) -> None:
    calling = next(q for q in demo.questions() if q.tool_calls)
    for question in (demo.question("what-is-holdfast"), calling):
        asked: dict[str, Any] = {"messages": question.messages, "tools": question.tools}
        answer: ChatCompletion = client.chat.completions.create(
            model="seeing",
            extra_body={"chat_template_kwargs": {"enable_thinking": question.thinking}},
            **{name: value for name, value in asked.items() if value},
        )
        message = answer.choices[0].message
        assert (message.content or "") == question.content
        assert len(message.tool_calls or ()) == len(question.tool_calls)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == question.tokens


# A token stands for 32 x 32 pixels, 2 x 2 patches of 16. Each side is rounded to the nearest
# multiple of 32; what would have fewer than 8 tokens is enlarged, what would have more than 4096
# shrunk, by the same factor in both directions (llama.cpp's tools/mtmd/mtmd-image.cpp).
@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (128, 64, 8),
        (128, 128, 16),
        (256, 128, 32),
        (256, 256, 64),
        (320, 256, 80),
        (100, 203, 3 * 6),
        (110, 203, 3 * 6),
        (120, 203, 4 * 6),
        (64, 64, 3 * 3),  # 4 tokens, so each side is 91 pixels: three tokens
        (1, 1, 3 * 3),
        (1000, 10, 31),
        (10, 1000, 31),
    ],
)
def test_a_picture_takes_tokens_by_its_size(
    client: openai.OpenAI, width: int, height: int, tokens: int
) -> None:
    taken = prompt_tokens(client, url(png(width, height))) - prompt_tokens(client)
    assert taken == tokens + AROUND


def test_a_picture_too_large_for_the_context_is_told_with_the_numbers(
    seeing: Holdfast, client: openai.OpenAI
) -> None:
    text = prompt_tokens(client)
    for side in (2048, 4096):  # the larger one is shrunk
        body = ask(url(png(side, side)))
        error = httpx2.post(f"{seeing.url}/chat/completions", json=body, timeout=30).json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert "4096 tokens" in error["message"]
        assert f"the prompt has {4096 + AROUND + text}" in error["message"]


@pytest.mark.parametrize("shade", [0, 100, 128, 255])
def test_the_same_picture_in_another_format_is_the_same(client: openai.OpenAI, shade: int) -> None:
    expected = likelihoods(client, url(png(96, 64, shade)))
    for make in (jpeg, gif):
        assert likelihoods(client, url(make(96, 64, shade), make.__name__)) == same(expected)


def test_what_is_shown_matters_and_pictures_are_not_confused(client: openai.OpenAI) -> None:
    black, white = url(png(96, 96, 0)), url(png(96, 96, 255))
    shown = [(black,), (white,), (black, white), (white, black), ()]
    first = [likelihoods(client, *urls) for urls in shown]
    for this, urls in enumerate(shown):  # by now, the engine's caches hold all of them
        again = likelihoods(client, *urls)
        assert [again == same(other) for other in first] == [
            position == this for position in range(len(shown))
        ]


def test_each_of_several_pictures_takes_its_tokens(client: openai.OpenAI) -> None:
    one, other = url(png(128, 64)), url(gif(256, 128), "gif")
    taken = prompt_tokens(client, one, other, one) - prompt_tokens(client)
    assert taken == 8 + 32 + 8 + 3 * AROUND


def test_pictures_are_counted_before_as_they_are_read(
    seeing: Holdfast, client: openai.OpenAI
) -> None:
    pictures = (png(128, 64), png(300, 200), png(10, 1000))
    blocks: list[dict[str, Any]] = [
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": "image/png",
                "data": base64.b64encode(picture).decode(),
            },
        }
        for picture in pictures
    ]
    content = [*blocks, {"type": "text", "text": QUESTION}]
    body = {"model": "seeing", "messages": [{"role": "user", "content": content}]}
    told = httpx2.post(f"{seeing.url}/messages/count_tokens", json=body, timeout=30)
    assert told.headers["x-holdfast-count"] == "engine"
    assert told.json() == {"input_tokens": prompt_tokens(client, *map(url, pictures))}


def test_clients_at_once_are_each_answered_about_their_own_picture(client: openai.OpenAI) -> None:
    urls = [url(png(96, 96, shade)) for shade in (0, 60, 200, 255)]
    alone = [likelihoods(client, one) for one in urls]
    with ThreadPoolExecutor(len(urls)) as clients:
        together = list(clients.map(lambda one: likelihoods(client, one), urls))
    assert together == [same(expected) for expected in alone]


@pytest.mark.parametrize("make", [png, jpeg, gif])
def test_a_stream_about_a_picture_says_the_same_as_a_whole_answer(
    client: openai.OpenAI, make: Any
) -> None:
    request = ask(url(make(96, 96), make.__name__), max_tokens=16)
    whole = client.chat.completions.create(**request)
    chunks = list(
        client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_picture_stays_in_the_conversation(client: openai.OpenAI) -> None:
    def tokens(*urls: str) -> int:
        request = ask(*urls, max_tokens=1)
        request["messages"] += [
            {"role": "assistant", "content": "I see."},
            {"role": "user", "content": "And now?"},
        ]
        return prompt_of(client.chat.completions.create(**request))

    assert tokens(url(png(256, 128))) - tokens() == 32 + AROUND


def test_a_jpeg_cut_in_its_data_is_shown_as_far_as_it_goes(client: openai.OpenAI) -> None:
    """The engine's decoder (stb_image) does so, as web browsers do."""
    whole = jpeg(96, 96, 200)
    shown = likelihoods(client, url(whole[:-10], "jpeg"))
    assert shown == same(likelihoods(client, url(whole, "jpeg")))  # of one grey, the rest as well


WHOLE = png(300, 300)
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"
REFUSALS: list[tuple[str, str, str, str]] = [
    ("cut in its data", url(WHOLE[:-40]), "could not be decoded", "messages"),
    ("cut behind its header", url(WHOLE[:60]), "could not be decoded", "messages"),
    ("cut in its header", url(WHOLE[:20]), "not a readable", URL),
    ("corrupt", url(WHOLE[:60] + b"\xff\0\xff" + WHOLE[63:]), "could not be decoded", "messages"),
    ("a jpeg cut before its size", url(jpeg(96, 96)[:70], "jpeg"), "not a readable", URL),
    ("a jpeg cut behind it", url(jpeg(96, 96)[:80], "jpeg"), "could not be decoded", "messages"),
    ("a cut gif", url(gif(96, 96)[:15], "gif"), "could not be decoded", "messages"),
    ("not a picture", url(b"GET / HTTP/1.1\r\n\r\n"), "not a readable", URL),
    ("a sound", url(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)), "not a readable", URL),
    ("webp", url(WEBP, "webp"), "WebP", "messages"),
    ("65 megapixels", url(png(1, 1).replace(b"\0\0\0\1" * 2, struct.pack(">II", 8125, 8000))),
     "8125 x 8000", URL),
    ("wrong base64", url(WHOLE)[:-3] + "-_=", "base64", URL),
    ("not base64", "data:image/png,abc", "base64", URL),
    ("http", "http://127.0.0.1:1/a.png", "not fetched", URL),
    ("https", "https://127.0.0.1:1/a.png", "not fetched", URL),
    ("file", "file:///etc/hostname", "not fetched", URL),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("bad", "told", "param"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_bad_picture_is_refused_and_the_engine_lives(
    seeing: Holdfast, engine: psutil.Process, bad: str, told: str, param: str, stream: bool
) -> None:
    body = ask(bad, url(png(96, 96)), stream=stream)
    response = httpx2.post(f"{seeing.url}/chat/completions", json=body, timeout=30)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert told in error["message"]
    good = httpx2.post(f"{seeing.url}/chat/completions", json=ask(url(png(96, 96))), timeout=30)
    assert good.status_code == 200
    assert engine.is_running()
    assert engine.status() != psutil.STATUS_ZOMBIE
    assert not (seeing.home.parent / "trapped").exists()


def test_pictures_are_bounded_together(seeing: Holdfast) -> None:
    header = png(1, 1).replace(b"\0\0\0\1" * 2, struct.pack(">II", 8000, 8000))
    body = ask(*[url(header)] * 3)
    response = httpx2.post(f"{seeing.url}/chat/completions", json=body, timeout=30)
    assert response.status_code == 400
    assert "128 million pixels together" in response.json()["error"]["message"]
    assert response.json()["error"]["param"] == "messages[0].content[2].image_url.url"


def serve(tmp_path: Path, config: Path, model: str) -> subprocess.CompletedProcess[str]:
    """`holdfast serve`, which cannot succeed."""
    return run(
        "serve", "--port", "0", "--config", str(config), model, home=tmp_path / "home", timeout=20
    )


def test_an_encoder_of_another_model_ends_serve_with_the_reason(tmp_path: Path) -> None:
    config = vision.write_model(tmp_path / "model", width=vision.TEXT_WIDTH // 2)
    done = serve(tmp_path, config, "seeing")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    wide, narrow = vision.TEXT_WIDTH, vision.TEXT_WIDTH // 2
    assert f"text model (n_embd = {wide}) and mmproj (n_embd = {narrow})" in done.stderr
    assert "The mmproj belongs to another model" in done.stderr


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_damaged_encoder_never_reaches_an_engine(tmp_path: Path, damage: str) -> None:
    config = vision.write_model(tmp_path / "model")
    encoder = config.with_name("mmproj.gguf")
    os.truncate(encoder, encoder.stat().st_size // 2 if damage == "cut" else 0)
    done = serve(tmp_path, config, "seeing")
    assert done.returncode == 4
    assert f"{encoder} is not a sound GGUF file" in done.stderr
    assert not list((tmp_path / "home" / "logs").glob("*"))


@pytest.mark.parametrize("model", ["seeing", "seeing:f16"])
def test_an_encoder_that_is_named_must_be_there(tmp_path: Path, model: str) -> None:
    config = vision.write_model(tmp_path / "model")
    encoder = config.with_name("mmproj.gguf")
    encoder.unlink()
    done = serve(tmp_path, config, model)
    assert done.returncode == 4
    assert f"{encoder} does not exist" in done.stderr
    assert "Traceback" not in done.stderr
