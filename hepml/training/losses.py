"""What a network minimises, and the weights that make its logit a log-likelihood ratio."""

import numpy as np
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hepml.errors import InputError


def balanced_weights(
    weight: Float[np.ndarray, " events"], label: Int[np.ndarray, " events"], events: str
) -> Float32[np.ndarray, " events"]:
    """Scale the weights so that each class sums up to half the number of events.

    The network that minimises the cross-entropy then has the logit ln p(x|S)/p(x|B), without a
    prior. Signs are kept: negative weights take away what positive ones put too much.

    Args:
        weight: signed.
        label: 1 for signal, 0 for background.
        events: which events these are, for messages.

    Raises:
        InputError: if a class is absent or its weights do not sum up to something positive.
    """
    balanced = np.zeros(len(weight))
    for value, name in ((1, "signal"), (0, "background")):
        members = label == value
        total = weight[members].sum()
        if total <= 0:
            raise InputError(
                f"{name} in {events}: {members.sum()} events whose weights sum up to {total:g}; "
                "a class needs a positive sum (check samples, selection and weights)"
            )
        balanced[members] = weight[members] * (len(weight) / 2 / total)
    return balanced.astype(np.float32)


def weighted_cross_entropy(
    logits: Float[Tensor, " batch"], label: Float[Tensor, " batch"], weight: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean of weight times binary cross-entropy, in nats.

    The weights have mean 1 over all events. Dividing by a batch's own sum of weights instead
    would bias the gradient, and fail where negative weights cancel the positive ones.
    """
    return binary_cross_entropy_with_logits(logits, label, weight=weight)
