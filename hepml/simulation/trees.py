"""Trees of simulated ntuples."""

from typing import Any

import numpy as np
import uproot

COMPRESSION = uproot.ZSTD(3)


def append(file: Any, name: str, columns: dict[str, Any]) -> None:  # noqa: ANN401
    """Append to a TTree; plain assignment to ``file[name]`` would write an RNTuple."""
    if name not in file:
        file.mktree(name, {column: _branch_type(array) for column, array in columns.items()})
    file[name].extend(columns)


def _branch_type(array: Any) -> Any:  # noqa: ANN401
    """What ``mktree`` wants to know: a dtype, or the type of a jagged array's entries."""
    return array.dtype if isinstance(array, np.ndarray) else array.type.content
