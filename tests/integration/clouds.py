"""A Holdfast with the demo and three clouds behind it, each of them played; see tests/fakes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.running import Holdfast, holdfast

FEATURES = """["tools", "parallel_tools", "tool_choice", "schema", "json", "thinking", "stop",
            "temperature"]"""
CONFIG = """
[[provider]]
id = "openai"
url = "{openai}/v1"
key = {{ env = "TEST_OPENAI_KEY" }}

[[provider]]
id = "anthropic"
url = "{anthropic}"
key = {{ env = "TEST_ANTHROPIC_KEY" }}

[[provider]]
id = "gemini"
url = "{gemini}"
key = {{ env = "TEST_GEMINI_KEY" }}

[[cloud]]
id = "openai/gpt-5"
title = "OpenAI's, played"
context = 400000
max_output = 64000
image = true
documents = true
features = {features}
price = {{ input = "1 USD/1M", output = "10 USD/1M", cached_input = "0.1 USD/1M" }}

[[cloud]]
id = "anthropic/claude-sonnet-4-5"
title = "Anthropic's, played"
context = 400000
max_output = 64000
image = true
documents = true
features = {features}
price = {{ input = "3 USD/1M", output = "15 USD/1M", cached_input = "0.3 USD/1M" }}

[[cloud]]
id = "gemini/gemini-2.5-flash"
title = "Google's, played"
context = 400000
max_output = 64000
image = true
documents = true
features = {features}
price = {{ input = "2 USD/1M", output = "12 USD/1M", cached_input = "0.2 USD/1M" }}
"""
KEYS = {
    "TEST_OPENAI_KEY": "sk-canary-openai",
    "TEST_ANTHROPIC_KEY": "sk-canary-anthropic",
    "TEST_GEMINI_KEY": "sk-canary-gemini",
}
MODELS = ("openai/gpt-5", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash")


@dataclass(frozen=True, slots=True)
class Clouds:
    openai: FakeCloud
    anthropic: FakeCloud
    gemini: FakeCloud

    @property
    def all(self) -> tuple[FakeCloud, FakeCloud, FakeCloud]:
        return self.openai, self.anthropic, self.gemini

    def mend(self) -> None:
        for cloud in self.all:
            cloud.mend()

    def sent(self) -> int:
        """How many requests have come to any of them."""
        return sum(len(cloud.requests()) for cloud in self.all)


@contextlib.contextmanager
def clouds() -> Iterator[Clouds]:
    with contextlib.ExitStack() as held:
        names = ("openai_api", "anthropic_api", "gemini_api")
        yield Clouds(*(held.enter_context(running_cloud(name)) for name in names))


def write_config(folder: Path, played: Clouds, more: str = "") -> Path:
    """A configuration with `played`, and `more`."""
    config = folder / "clouds.toml"
    told = CONFIG.format(
        openai=played.openai.url,
        anthropic=played.anthropic.url,
        gemini=played.gemini.url,
        features=FEATURES,
    )
    config.write_text(told + more)
    return config


@contextlib.contextmanager
def gateway(folder: Path, played: Clouds, more: str = "", *flags: str) -> Iterator[Holdfast]:
    """`holdfast serve` with the demo and `played`; `more` is added to its configuration."""
    arguments = ("--demo", "--config", str(write_config(folder, played, more)), *flags)
    with holdfast(folder / "home", *arguments, extra=KEYS) as running:
        running.wait_ready(60)
        yield running
