"""Expressions in branches, as physicists write them for ROOT or numexpr; nothing is executed.

``jet_pt > 550 && abs(jet_eta) < 2``, ``sum(Muon_pt[Muon_tightId]) / HT``, ``TMath::Log(x)``,
``Sum$(Jet_pt > 30) >= 2`` and ``(a > 1) & (b < 2)`` all work. The text is parsed into Python's
syntax tree, every node is checked against a list of what is allowed (:mod:`hepml.data.syntax`),
and the tree is walked on awkward arrays: there is no ``eval``, no attribute access and no call but
the functions of :mod:`hepml.data.functions`. Why not a library: docs/decisions/0001-expressions.md.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np

from hepml.data import syntax
from hepml.data.functions import (
    CONSTANTS,
    FUNCTIONS,
    arithmetic,
    as_numbers,
    bitwise,
    both,
    either,
    leaf_dtype,
    negate,
    on_numbers,
    power,
    require_jagged,
    truth,
)
from hepml.errors import InputError

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: on_numbers(operator.add),
    ast.Sub: on_numbers(operator.sub),
    ast.Mult: on_numbers(operator.mul),
    ast.Div: on_numbers(operator.truediv),
    ast.Mod: on_numbers(np.fmod),  # the sign of the dividend, as in C++ and numexpr
    ast.Pow: on_numbers(power),
    ast.BitAnd: bitwise(both, operator.and_),
    ast.BitOr: bitwise(either, operator.or_),
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression: parse it with :func:`parse_expression`."""

    text: str
    tree: ast.expr
    key: str = ""

    def __str__(self) -> str:
        return f"{self.key + ': ' if self.key else ''}expression {self.text!r}"

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the branches and variables that it reads."""
        return frozenset(syntax.names(self.tree))

    def __call__(self, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
        """Evaluate it.

        Args:
            events: arrays by name, each ``events * ...``; at least those in :attr:`names`.

        Returns:
            An awkward array ``events * ...``, or a scalar if no name occurs. Entries that do not
            exist, such as ``pt[0]`` of an event without jets, are missing values.

        Raises:
            InputError: if the arrays do not fit together.
        """
        try:
            with np.errstate(all="ignore"):  # what is not finite is found, and named, later
                return _evaluate(self.tree, events)
        except InputError as error:
            raise InputError(f"{self}: {error}") from None
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(f"{self}: {_unfit(error)}") from None


def _unfit(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    if "broadcast" in reason or "slice" in reason:
        return "its jagged branches differ in their number of entries per event"
    return f"cannot be evaluated ({reason})"


def parse_expression(text: str, key: str = "") -> Expression:
    """Parse and check an expression.

    Args:
        text: what the user wrote.
        key: of the config where it stands, for messages.

    Raises:
        InputError: if it is not an expression or uses a construct that is not allowed.
    """
    try:
        return Expression(text, syntax.read(text), key)
    except ValueError as error:
        shown = text if len(text) < 200 else f"{text[:60]}…"
        where = f"{key}: " if key else ""
        raise InputError(f"{where}expression {shown!r}: {error}") from None


def _evaluate(node: ast.expr, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    match node:
        case ast.Name() | ast.Attribute():
            name = syntax.dotted(node)
            return CONSTANTS[name] if name in CONSTANTS else _column(name, events)
        case ast.Constant(value=bool() as value):
            return value
        case ast.Constant(value=int() as value):
            return np.int64(value)
        case ast.Constant(value=float() as value):
            return np.float64(value)
        case ast.Call():
            function = FUNCTIONS[syntax.function_name(node)][0]
            return function(*(_evaluate(argument, events) for argument in node.args))
        case ast.Subscript():
            return _subscript(node, events)
    return _operate(node, events)


def _column(name: str, events: Mapping[str, ak.Array]) -> ak.Array:
    try:
        return as_numbers(events[name])
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from None


def _operate(node: ast.expr, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    match node:
        case ast.BoolOp():
            values = [truth(_evaluate(value, events)) for value in node.values]
            return reduce(both if isinstance(node.op, ast.And) else either, values)
        case ast.UnaryOp(op=ast.USub()):
            return -arithmetic(_evaluate(node.operand, events))
        case ast.UnaryOp(op=ast.UAdd()):
            return arithmetic(_evaluate(node.operand, events))
        case ast.UnaryOp():
            return negate(truth(_evaluate(node.operand, events)))
        case ast.BinOp():
            left, right = (_evaluate(side, events) for side in (node.left, node.right))
            return _BINARY[type(node.op)](left, right)
        case ast.Compare():
            sides = [_evaluate(side, events) for side in (node.left, *node.comparators)]
            pairs = zip(node.ops, pairwise(sides), strict=True)
            return reduce(both, (_COMPARE[type(op)](a, b) for op, (a, b) in pairs))
    raise ValueError(f"{type(node).__name__} is not allowed")  # parse_expression refuses it first


def _subscript(node: ast.Subscript, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    """``pt[0]`` (missing where there is none), ``pt[:3]``, ``pt[eta < 2]``."""
    value = _evaluate(node.value, events)
    require_jagged(value, "[…] picks entries of")
    if isinstance(node.slice, ast.Slice):
        bounds = (node.slice.lower, node.slice.upper, node.slice.step)
        return value[:, slice(*(syntax.whole_number(bound) for bound in bounds))]
    index = syntax.whole_number(node.slice)
    if index is None:
        return _masked(value, _evaluate(node.slice, events))
    needed = index + 1 if index >= 0 else -index
    return ak.mask(value, ak.num(value, axis=1) >= needed)[:, index]


def _masked(value: ak.Array, condition: Any) -> ak.Array:  # noqa: ANN401
    """Entries of a jagged branch for which a condition on the entries holds."""
    jagged = isinstance(condition, ak.Array) and condition.ndim >= 2
    if not jagged or leaf_dtype(condition) != np.bool_:
        raise InputError("x[…] takes a whole number, a slice, or a condition on the entries of x")
    return value[condition]
