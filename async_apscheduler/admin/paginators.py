"""Pages of a list that may have millions of rows.

Counting them all takes seconds, on each page again, and nobody turns ten thousand pages.
"""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

MAX_COUNTED = 10_000
"""Rows that a list shows at most; filters and the search find the others."""


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Counts up to MAX_COUNTED rows and pages through these."""

    @cached_property
    def count(self) -> int:
        """Number of rows, at most MAX_COUNTED."""
        return min(self._counted, MAX_COUNTED)

    @property
    def is_capped(self) -> bool:
        """True if there are more rows than the pages show."""
        return self._counted > MAX_COUNTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: MAX_COUNTED + 1].count())
