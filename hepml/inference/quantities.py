"""Numbers with errors, and how they are written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Number = float | int  # JSON does not tell them apart


@dataclass(frozen=True)
class Measured:
    """A value with its error; an error of None is not known."""

    value: Number
    error: Number | None = None

    def __str__(self) -> str:
        return with_error(self.value, self.error)


def measured(content: Mapping[str, Any] | None) -> Measured | None:
    """``{"value": ..., "error": ...}`` of a result file; None where there is no number."""
    if content is None or content.get("value") is None:
        return None
    return Measured(content["value"], content.get("error"))


def with_error(value: Number | None, error: Number | None = None) -> str:
    """A number as in a paper: ``2.314 ± 0.052``, two digits of the error, value to match.

    Without an error, four significant digits; an em dash for None.
    """
    if value is None:
        return "–"
    if error is None or not math.isfinite(error) or error <= 0:
        return with_thousands(value)
    decimals = 1 - math.floor(math.log10(error))
    if float(f"{error:.{max(decimals, 0)}f}") >= 10 ** (2 - decimals):
        decimals -= 1  # 0.0996 rounds to 0.10, not 0.100
    if decimals < 0:
        value, error = round(value, decimals), round(error, decimals)
    shown = max(decimals, 0)
    return f"{_proper(value, shown)} ± {error:,.{shown}f}".replace(",", "\u202f")


def with_prefix(value: Number | None) -> str:
    """Three significant digits and the prefix of a large number: ``1.23 M``."""
    if value is None:
        return "–"
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def with_thousands(value: Number | None) -> str:
    """At most four significant digits, thousands apart; a power of ten for very small numbers."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa} × 10{_superscript(int(exponent))}".replace("-", "−")
    if float(value).is_integer() and abs(value) < 1e15:
        return _proper(value, 0).replace(",", "\u202f")
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    text = _proper(value, decimals)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace(",", "\u202f")


def signed(value: Number | None, error: Number | None = None) -> str:
    """As :func:`with_error`, with a plus before positive values."""
    text = with_error(value, error)
    return f"+{text}" if value is not None and value > 0 else text


def _proper(value: Number, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
