"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cores.tiers import PAIRS, comparing


@pytest.fixture(params=PAIRS, ids="-".join)
def tiers(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Each pair of tiers that is compared, one after the other."""
    with comparing(request.param):
        yield request.param
