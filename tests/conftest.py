"""What all tests share: how hypothesis chooses examples, when it may complain, and that ^C ends
what they start.

A run says something about the code, never about chance or the machine: examples are the same every
time, and however long one takes is not held against it. `--hypothesis-profile=search` looks for
new ones.
"""

from __future__ import annotations

import gc
import signal

from hypothesis import HealthCheck, settings

# A fixture that examples share is a folder, and each example overwrites what it finds there.
_CALM = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("same", _CALM, derandomize=True)
settings.register_profile("search", _CALM, max_examples=500)
settings.load_profile("same")

# What a shell runs in the background ignores ^C, and so would all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is collected stays to the end: to look for garbage in it again and again takes a quarter of
# the time of the unit tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
