"""How soon a build is asked for again when it has answered."""

from __future__ import annotations

_WEIGHT = 0.25  # of the newest pause in the moving average


class Rhythm:
    """The pause between the end of what a build did and its next request, as it was lately.

    It is known since an eviction was regretted: the build was asked for again while the engine that
    took its place was not even ready. After that it is followed, until a pause in which another
    engine has become ready. Such a request may have waited for the other's answer, as those of a
    client do that asks both in turn: to keep this build loaded for it would be in vain.
    """

    def __init__(self) -> None:
        self.pause: float | None = None
        """Seconds; None where none is to be expected."""
        self._overtaken = False

    def rest(self) -> None:
        """Nothing of the build runs any more."""
        self._overtaken = False

    def overtake(self) -> None:
        """Another engine has become ready."""
        self._overtaken = True

    def resume(self, pause: float, *, loaded: bool) -> None:
        """It is asked for again, `pause` seconds after it had answered all; `loaded`: and can
        serve."""
        if self._overtaken:
            self.pause = None
        elif self.pause is not None:
            self.pause += _WEIGHT * (pause - self.pause)
        elif not loaded:
            self.pause = pause
