"""Executes the notebooks' text and writes them with outputs: `python execute.py [NAME.py ...]`.

The run folder is the notebook's own default, or that of `RAYWCE_RUN`, as seen from this folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SOURCES = sorted(file for file in FOLDER.glob("*.py") if file != Path(__file__))


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, and nothing that differs from one execution to the next."""
    notebook = jupytext.read(source)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:02d}"
    how = {"timeout": 600, "record_timing": False, "coalesce_streams": True}  # prints in one piece, however they come
    client = NotebookClient(notebook, resources={"metadata": {"path": FOLDER}}, **how)
    client.execute()
    notebook.metadata.pop("language_info")
    notebook.metadata.jupytext = {"formats": "ipynb,py:percent"}
    return notebook


if __name__ == "__main__":
    for source in map(Path, sys.argv[1:]) if sys.argv[1:] else SOURCES:
        nbformat.write(executed(source.resolve()), source.with_suffix(".ipynb"))
