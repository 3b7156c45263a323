"""Pages without the time that their figures take."""

import pytest

from neurodyn.report import style


@pytest.fixture
def unsaved(monkeypatch):
    """Paint figures, but neither lay them out nor write them, most of a page's time: others look at them."""

    def painted(paint, size, kind):
        paint(style.Canvas(figsize=size))
        return kind.encode()

    monkeypatch.setattr(style, "_saved", painted)
