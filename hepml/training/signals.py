"""Signals of a batch system: noted when they come, acted on between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Signals:
    """What was asked for since the training began.

    Attributes:
        stop: keep the state and end (SIGTERM).
        save: keep the state and go on (SIGUSR1).
    """

    stop: bool = False
    save: bool = False


@contextmanager
def noted() -> Iterator[Signals]:
    """Note SIGTERM and SIGUSR1 while the block runs; Python lets only its main thread do so."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def stop(*_: object) -> None:
        signals.stop = True

    def save(*_: object) -> None:
        signals.save = True

    handlers = {signal.SIGTERM: stop, signal.SIGUSR1: save}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
