"""Features as compressed sparse rows, made dense for one node at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class SparseRows(Sequence[Array]):
    """N rows of which few entries are not 0; `rows[node]` is float32 [columns].

    Args:
        indptr: int [N+1], from 0 to the number of entries, never falling.
        indices: int [M], columns.
        data: [M] numbers.
        columns: how many there are.

    Raises:
        ValueError: these contradict each other.
    """

    def __init__(self, indptr: Array, indices: Array, data: Array, columns: int) -> None:
        if not (len(indptr) and int(indptr[0]) == 0 and int(indptr[-1]) == len(indices) == len(data)):
            raise ValueError(f"the rows of a sparse matrix do not end at its {len(indices)} entries")
        if (np.diff(indptr) < 0).any():
            raise ValueError("the rows of a sparse matrix overlap")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < columns:
            raise ValueError(f"a sparse matrix of {columns} columns names column {int(indices.max())}")
        self.indptr, self.indices, self.data, self.columns = indptr, indices, data, columns

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, node: Any) -> Any:
        out = np.zeros(self.columns, dtype=np.float32)
        span = slice(int(self.indptr[node]), int(self.indptr[node + 1]))
        out[self.indices[span]] = self.data[span]
        return out
