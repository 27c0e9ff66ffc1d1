"""What a training did, epoch by epoch, and how it can fail."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from hepml.errors import InputError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training events did."""

    epoch: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    largest_gradient: float
    events_per_second: float


@dataclass(frozen=True)
class Fit:
    """A finished training; the network holds the weights of the best epoch.

    ``events_per_second`` is the median over the epochs, of training without validation.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    events_per_second: float
    precision: str

    def record(self) -> dict[str, object]:
        """The same as plain numbers."""
        return asdict(self)


class DivergedError(InputError):
    """The loss or a gradient is not finite any more.

    Attributes:
        fit: of the epochs before, whose best weights the network holds; None in the first epoch.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.fit: Fit | None = None
