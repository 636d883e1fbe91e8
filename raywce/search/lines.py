"""Plain lines beside the tables."""

from __future__ import annotations

import rich


def show_line(text: str) -> None:
    """Print a line as it is."""
    rich.get_console().print(text, highlight=False, markup=False, soft_wrap=True)
