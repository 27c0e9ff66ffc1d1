"""Where tensors and arrays lie in memory, for the compiled kernels: contiguous, on the CPU."""

import ctypes

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from hepml.kernels.compiled import LANES, kernels

COUNT = ctypes.c_int64


def loaded() -> ctypes.CDLL:
    """The compiled kernels."""
    library = kernels().code
    if library is None:
        raise RuntimeError(f"kernels: {kernels().description}")
    return library


def threads() -> ctypes.c_int64:
    """As many as PyTorch takes."""
    return COUNT(torch.get_num_threads())


def sizes(x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    """Rows and width, a multiple of LANES: kernels write that many numbers at a time."""
    if x.shape[1] % LANES:
        raise ValueError(f"kernels: rows of {x.shape[1]} numbers, no multiple of {LANES}")
    return COUNT(x.shape[0]), COUNT(x.shape[1])


def at(*tensors: Tensor | None, dtype: torch.dtype = torch.float32) -> list[ctypes.c_void_p]:
    """Where tensors begin; a null pointer for None."""
    for x in tensors:
        if x is not None and not x.is_contiguous():
            raise ValueError("kernels: tensors must be contiguous")
    return [start(x, dtype) for x in tensors]


def start(x: Tensor | None, dtype: torch.dtype = torch.float32) -> ctypes.c_void_p:
    """Where one tensor begins."""
    if x is not None and x.dtype != dtype:
        raise TypeError(f"kernels: a tensor is {x.dtype} and should be {dtype}")
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def of_arrays(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    """Where arrays begin, which are contiguous."""
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def bounds(counts: Int[np.ndarray, " jets"]) -> Int64[np.ndarray, " jets+1"]:
    """Row at which the particles of each jet begin, and that after the last."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
