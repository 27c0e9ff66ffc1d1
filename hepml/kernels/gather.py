"""Call of the kernel that gathers rows of tables, on NumPy arrays."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from hepml.kernels.pointers import COUNT, loaded, of_arrays


def gather(
    tables: Sequence[Float32[np.ndarray, "_ columns"]],
    table: Int64[np.ndarray, " runs"],
    start: Int64[np.ndarray, " runs"],
    counts: Int64[np.ndarray, " runs"],
) -> Float32[np.ndarray, "rows columns"]:
    """Rows ``start`` to ``start + counts`` of a table for each run, one run after another.

    Args:
        tables: of equal width, contiguous.
        table: number of each run's table.
        start: first row of each run.
        counts: rows of each run.

    Raises:
        IndexError: if a run reaches out of its table.
    """
    if not all(x.flags.c_contiguous and x.dtype == np.float32 for x in tables):
        raise ValueError("kernels: tables must be contiguous, in single precision")
    length = np.array([len(x) for x in tables])[table]
    if ((start < 0) | (counts < 0) | (start + counts > length)).any():
        raise IndexError("particles beyond the end of their table")
    width = tables[0].shape[1]
    row = width * tables[0].itemsize
    address = np.array([x.ctypes.data for x in tables])[table] + start * row
    size = counts * row
    found = np.empty((int(counts.sum()), width), np.float32)
    loaded().gather(*of_arrays(address, size), COUNT(len(counts)), *of_arrays(found))
    return found
