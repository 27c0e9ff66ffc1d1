"""What a network costs: multiplications, memory, and the machine it was trained on."""

import resource
import sys

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hepml import kernels
from hepml.training.batches import Batches

_COUNTED = 256  # events whose operations are counted


def machine(device: torch.device, processes: int) -> dict[str, object]:
    """Where a network was trained; memory is the most that the process ever had.

    Of processes that train together threads and memory are those of the first one.
    """
    costs: dict[str, object] = {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "peak_memory_mb": _peak_memory(),
    }
    if device.type == "cuda":
        costs["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return costs


@torch.no_grad()
def count_macs(network: nn.Module, events: Batches) -> float:
    """Multiplications with addition in products and convolutions, mean per event.

    Half of the floating-point operations that PyTorch counts, on up to 256 events spread evenly.
    For networks on particles this is the mean over their numbers, and padding within groups counts.
    """
    network.eval()
    step = max(1, len(events) // _COUNTED)
    some = Batches(
        events.source, events.events[::step], events.label[::step], events.weight[::step]
    )
    # the counter fails on views of parameters, which want a gradient even under no_grad
    fixed = {name: value.detach() for name, value in network.named_parameters()}
    with kernels.without_kernels(), FlopCounterMode(display=False) as counter:
        for inputs, _, _ in some.ordered(len(some)):
            functional_call(network, fixed, inputs)
    return counter.get_total_flops() / 2 / len(some)


def _peak_memory() -> float:
    """Largest resident set of this process [MB]; Linux counts in kB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
