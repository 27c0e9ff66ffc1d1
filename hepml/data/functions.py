"""What expressions compute with: functions on numbers and on jagged arrays, and three-valued logic.

Arithmetic is in double precision and signed 64-bit integers, as in ROOT, whatever the branches are
stored as: ``nJet - 3`` of an unsigned branch may be negative, and conditions count as 0 and 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import awkward as ak
import numpy as np

from hepml.errors import InputError


def leaf_dtype(x: Any) -> np.dtype[Any] | None:  # noqa: ANN401
    """Type of the numbers in an array, however jagged; None if it does not hold numbers."""
    if not isinstance(x, ak.Array):
        return np.asarray(x).dtype
    layout = x.layout
    while layout.is_option or layout.is_list or layout.is_indexed:
        if layout.parameter("__array__") is not None:  # text
            return None
        layout = layout.content
    return layout.dtype if layout.is_numpy and layout.dtype.kind in "biuf" else None


def as_numbers(x: Any) -> Any:  # noqa: ANN401
    """Double precision or int64; true and false stay what they are.

    Raises:
        InputError: if there are no numbers in it.
    """
    dtype = leaf_dtype(x)
    if dtype is None:
        raise InputError(f"expected numbers, got {x.type.content}")
    wide = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}[dtype.kind]
    return x if dtype == wide else ak.values_astype(x, wide)


def arithmetic(x: Any) -> Any:  # noqa: ANN401
    """Numbers to calculate with: true is 1 and false is 0."""
    if leaf_dtype(x) != np.bool_:
        return x
    return ak.values_astype(x, np.int64) if isinstance(x, ak.Array) else np.int64(x)


def truth(x: Any) -> Any:  # noqa: ANN401
    """Numbers are true where they are not zero, as in C++; NaN is not true."""
    dtype = leaf_dtype(x)
    if dtype == np.bool_:
        return x
    nonzero = x != 0
    return nonzero & (x == x) if dtype is not None and dtype.kind == "f" else nonzero


def both(a: Any, b: Any) -> Any:  # noqa: ANN401
    """Logical and; false wins over a missing value."""
    return _settled(a & b, False, negate(a), negate(b))


def either(a: Any, b: Any) -> Any:  # noqa: ANN401
    """Logical or; true wins over a missing value."""
    return _settled(a | b, True, a, b)


def negate(x: Any) -> Any:  # noqa: ANN401
    """Logical not; missing stays missing."""
    return np.logical_not(x)


def _settled(result: Any, value: bool, a: Any, b: Any) -> Any:  # noqa: ANN401
    """``result``, but ``value`` wherever ``a`` or ``b`` is certainly true."""
    if not isinstance(result, ak.Array) or "?" not in str(result.type):
        return result
    sides = (ak.fill_none(s, False, axis=None) if isinstance(s, ak.Array) else s for s in (a, b))
    return ak.where(np.logical_or(*sides), value, result)


def bitwise(logical: Callable[[Any, Any], Any], bits: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401
    """``&`` or ``|``: logical between conditions, of the bits between whole numbers."""

    def combine(a: Any, b: Any) -> Any:  # noqa: ANN401
        kinds = {"?" if t is None else t.kind for t in (leaf_dtype(a), leaf_dtype(b))}
        if kinds == {"b"}:
            return logical(a, b)
        if not kinds <= {"b", "i"}:
            raise InputError("& and | join conditions or whole numbers; write && and || or compare")
        return bits(arithmetic(a), arithmetic(b))

    return combine


def on_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function see 1 and 0 for true and false."""
    return lambda *values: function(*(arithmetic(value) for value in values))


def power(x: Any, y: Any) -> Any:  # noqa: ANN401
    """Real power: a negative power of a whole number is a fraction."""
    return np.power(np.float64(1) * x, y)


def require_jagged(x: Any, what: str) -> None:  # noqa: ANN401
    """Raise InputError unless ``x`` has several values per event."""
    if not isinstance(x, ak.Array) or x.ndim < 2:
        raise InputError(f"{what} a jagged branch, but got one value per event")


def _reduction(function: Callable[..., Any], name: str) -> Callable[[Any], Any]:
    def reduce_last(x: Any) -> Any:  # noqa: ANN401
        require_jagged(x, f"{name}() goes over the entries of")
        return function(x, axis=-1)

    return reduce_last


def _one_or_two(name: str, jagged: Callable[..., Any], pairwise: Callable[..., Any]) -> Any:  # noqa: ANN401
    reduction = _reduction(jagged, name)
    return lambda x, *other: pairwise(x, *other) if other else reduction(x)


def _delta_phi(phi1: Any, phi2: Any) -> Any:  # noqa: ANN401
    """φ1 - φ2 brought into [-π, π)."""
    return (phi1 - phi2 + np.pi) % (2 * np.pi) - np.pi


def _where(condition: Any, yes: Any, no: Any) -> Any:  # noqa: ANN401
    condition = truth(condition)
    if isinstance(condition, ak.Array):
        return ak.where(condition, yes, no)
    return yes if condition else no


def _alt(x: Any, otherwise: Any) -> Any:  # noqa: ANN401
    """``x``, or ``otherwise`` where x does not exist: ROOT's ``Alt$``."""
    return ak.where(ak.is_none(x, axis=-1), otherwise, x) if isinstance(x, ak.Array) else x


def _first(x: Any, n: Any) -> Any:  # noqa: ANN401
    require_jagged(x, "first() picks entries of")
    return x[:, : int(n)]


_OF_ONE_NUMBER = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "expm1": np.expm1, "log": np.log,
    "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "floor": np.floor, "ceil": np.ceil, "sign": np.sign, "isfinite": np.isfinite,
}  # fmt: skip
_OF_JAGGED = {
    "sum": ak.sum,
    "mean": partial(ak.mean, mask_identity=True),  # missing, as max() and min() of no entries are
    "count": ak.num,
}

# name: (function, smallest and largest number of arguments)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    **{name: (on_numbers(function), 1, 1) for name, function in _OF_ONE_NUMBER.items()},
    **{name: (on_numbers(_reduction(f, name)), 1, 1) for name, f in _OF_JAGGED.items()},
    "any": (_reduction(lambda x, axis: ak.any(truth(x), axis=axis), "any"), 1, 1),
    "all": (_reduction(lambda x, axis: ak.all(truth(x), axis=axis), "all"), 1, 1),
    "max": (on_numbers(_one_or_two("max", ak.max, np.maximum)), 1, 2),
    "min": (on_numbers(_one_or_two("min", ak.min, np.minimum)), 1, 2),
    "pow": (on_numbers(power), 2, 2),
    "atan2": (on_numbers(np.arctan2), 2, 2),
    "hypot": (on_numbers(np.hypot), 2, 2),
    "delta_phi": (on_numbers(_delta_phi), 2, 2),
    "where": (_where, 3, 3),
    "alt": (_alt, 2, 2),
    "first": (_first, 2, 2),
}
ALIASES = {
    "fabs": "abs",
    "ln": "log",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "power": "pow",
    "length": "count",
    "num": "count",
}
CONSTANTS = {"pi": np.pi, "true": True, "false": False, "True": True, "False": False}
