from __future__ import annotations

from tests.integration.store.transfer.fetching import repository, serving

__all__ = ["repository", "serving"]
