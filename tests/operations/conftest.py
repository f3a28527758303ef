"""Figures are counted each time, on a slow machine too."""

import pytest

from connected_accounts.operations import cached_figures


@pytest.fixture(autouse=True)
def figures_counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_figures, "SLOW", 60.0)
