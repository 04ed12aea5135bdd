"""Drawing instructions and numbers at random, for tests: what every core's own strategies are made of.

Nothing here has randomness of its own. A `Choices` is passed in: `random.Random` from a seed, or Hypothesis's
`randoms()`, which replays and shrinks what it drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .ir import mask

T = TypeVar("T")


class Choices(Protocol):
    """The one thing that is asked of a source of randomness."""

    def randrange(self, stop: int, /) -> int:
        """A number from 0 to `stop` - 1."""
        ...


def pick(rng: Choices, items: Sequence[T]) -> T:
    """One of the items."""
    return items[rng.randrange(len(items))]


def one_in(rng: Choices, n: int) -> bool:
    """True once in `n` times."""
    return rng.randrange(n) == 0


def number(rng: Choices, width: int) -> int:
    """A number of `width` bits: often one where carries, signs and limits change, else any."""
    kind = rng.randrange(4)
    if kind == 0:
        return pick(
            rng, (0, 1, 2, mask(width), mask(width) - 1, 1 << (width - 1), mask(width - 1), 0x7F, 0x80, 0xFF)
        ) & mask(width)
    if kind == 1:
        return rng.randrange(1 << min(width, 8))
    if kind == 2:
        return 1 << rng.randrange(width)
    return rng.randrange(1 << width)
