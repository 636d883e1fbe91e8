"""Parquet files by their path, which need not be UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def parquet_reader(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file to read."""
    with pa.OSFile(os.fsencode(path)) as source, pq.ParquetFile(source) as file:
        yield file


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> Iterator[pq.ParquetWriter]:
    """Open a file to write, with options of `ParquetWriter`."""
    with pa.OSFile(os.fsencode(path), "wb") as sink, pq.ParquetWriter(sink, schema, **options) as writer:
        yield writer
