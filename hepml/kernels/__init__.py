"""Kernels for CPUs: what PyTorch does in many passes over memory, done in one.

They are C++, compiled once per machine by the compiler that is there. Where there is none, or on
other devices and types of numbers, the same is computed by PyTorch's own operations.
"""

from hepml.kernels.calls import (
    BlockParameters,
    Drops,
    Jets,
    Kept,
    attention,
    attention_backward,
    norm_linear,
    norm_linear_backward,
    pair_table,
    pair_table_backward,
    residual_steps,
    residual_steps_backward,
)
from hepml.kernels.compiled import LANES, description, fit_for, fit_for_rows, without_kernels
from hepml.kernels.gather import gather
from hepml.kernels.images import Drawing, jet_images
from hepml.kernels.memory import keep_freed_memory
from hepml.kernels.rows import gelu_layers, row_chain, row_gelu, row_moments, row_norm_backward
from hepml.kernels.sets import Feature, Outcome, Quantity, particle_sets

__all__ = [
    "LANES",
    "BlockParameters",
    "Drawing",
    "Drops",
    "Feature",
    "Jets",
    "Kept",
    "Outcome",
    "Quantity",
    "attention",
    "attention_backward",
    "description",
    "fit_for",
    "fit_for_rows",
    "gather",
    "gelu_layers",
    "jet_images",
    "keep_freed_memory",
    "norm_linear",
    "norm_linear_backward",
    "pair_table",
    "pair_table_backward",
    "particle_sets",
    "residual_steps",
    "residual_steps_backward",
    "row_chain",
    "row_gelu",
    "row_moments",
    "row_norm_backward",
    "without_kernels",
]
