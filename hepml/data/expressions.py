"""Expressions in branches, as physicists write them for ROOT or numexpr; nothing is executed.

``jet_pt > 550 && abs(jet_eta) < 2``, ``sum(Muon_pt[Muon_tightId]) / HT``, ``TMath::Log(x)``,
``Sum$(Jet_pt > 30) >= 2`` and ``(a > 1) & (b < 2)`` all work. The text is parsed into Python's
syntax tree, every node is checked against a list of what is allowed, and the tree is walked on
awkward arrays: there is no ``eval``, no attribute access and no call but the functions below.
Why not a library: docs/decisions/0001-expressions.md.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import awkward as ak
import numpy as np

from hepml.errors import InputError, nearest

MAX_LENGTH = 2000


def _reduction(function: Callable[..., Any], name: str) -> Callable[[Any], Any]:
    def reduce_last(x: Any) -> Any:  # noqa: ANN401
        if not isinstance(x, ak.Array) or x.ndim < 2:
            raise InputError(
                f"{name}() goes over the entries of a jagged branch, but got one value per event"
            )
        return function(x, axis=-1)

    return reduce_last


def _one_or_two(
    jagged: Callable[[Any], Any], pairwise: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    def choose(x: Any, *other: Any) -> Any:  # noqa: ANN401
        return pairwise(x, *other) if other else jagged(x)

    return choose


def _delta_phi(phi1: Any, phi2: Any) -> Any:  # noqa: ANN401
    """φ1 - φ2 brought into [-π, π)."""
    return (phi1 - phi2 + np.pi) % (2 * np.pi) - np.pi


def _first(x: Any, n: Any) -> Any:  # noqa: ANN401
    return x[..., : int(n)]


# name: (function, smallest and largest number of arguments)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    **{
        name: (function, 1, 1)
        for name, function in {
            "abs": np.abs,
            "sqrt": np.sqrt,
            "exp": np.exp,
            "expm1": np.expm1,
            "log": np.log,
            "log10": np.log10,
            "log1p": np.log1p,
            "sin": np.sin,
            "cos": np.cos,
            "tan": np.tan,
            "asin": np.arcsin,
            "acos": np.arccos,
            "atan": np.arctan,
            "sinh": np.sinh,
            "cosh": np.cosh,
            "tanh": np.tanh,
            "asinh": np.arcsinh,
            "acosh": np.arccosh,
            "atanh": np.arctanh,
            "floor": np.floor,
            "ceil": np.ceil,
            "sign": np.sign,
            "isfinite": np.isfinite,
        }.items()
    },
    "pow": (lambda x, y: np.power(np.float64(1) * x, y), 2, 2),
    "atan2": (np.arctan2, 2, 2),
    "hypot": (np.hypot, 2, 2),
    "delta_phi": (_delta_phi, 2, 2),
    "where": (ak.where, 3, 3),
    "sum": (_reduction(ak.sum, "sum"), 1, 1),
    "mean": (_reduction(ak.mean, "mean"), 1, 1),
    "count": (_reduction(ak.num, "count"), 1, 1),
    "any": (_reduction(ak.any, "any"), 1, 1),
    "all": (_reduction(ak.all, "all"), 1, 1),
    "max": (_one_or_two(_reduction(ak.max, "max"), np.maximum), 1, 2),
    "min": (_one_or_two(_reduction(ak.min, "min"), np.minimum), 1, 2),
    "first": (_first, 2, 2),
}
_ALIASES = {
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
_CONSTANTS = {"pi": np.pi, "true": True, "false": False, "True": True, "False": False}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    # an integer to a negative power is an error in NumPy and 0 in ROOT: neither is meant
    ast.Pow: lambda x, y: np.power(np.float64(1) * x, y),
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
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

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the branches and variables that it reads."""
        return frozenset(_names(self.tree))

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
            raise InputError(f"expression {self.text!r}: {error}") from None
        except (ValueError, TypeError, IndexError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"expression {self.text!r} cannot be evaluated: {reason}") from None


def parse_expression(text: str) -> Expression:
    """Parse and check an expression.

    Raises:
        InputError: if it is not an expression or uses a construct that is not allowed.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"expression {text[:40]!r}…: longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(_to_python(text).strip(), mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise InputError(f"expression {text!r}: {reason}") from None
    return Expression(text, tree)


def _to_python(text: str) -> str:
    """Translate the operators of C++ and ROOT's special functions; quotes do not occur."""
    odd = re.search(r"[^\w\s.+\-*/%()\[\]<>=!&|~,:$^?]", text)
    if odd:
        raise ValueError(f"the character {odd.group()!r} is not allowed")
    if "^" in text:
        raise ValueError("'^' is a power in ROOT and exclusive-or in numexpr; write ** for a power")
    if "?" in text:
        raise ValueError("write where(condition, a, b) instead of condition ? a : b")
    text = re.sub(r"\bTMath::(\w+)", lambda match: match.group(1).lower(), text)
    text = re.sub(r"\b(\w+)\$", lambda match: match.group(1).lower(), text)
    text = text.replace("&&", " and ").replace("||", " or ")
    return re.sub(r"!(?!=)", "~", text)  # binds as tightly as in C++, other than `not`


def _check(node: ast.expr) -> None:
    """Raise ValueError at the first construct that is not allowed."""
    for child in _operands(node):
        _check(child)


def _operands(node: ast.expr) -> list[ast.expr]:
    """Parts of a node that is allowed.

    Raises:
        ValueError: if it is not.
    """
    match node:
        case ast.Name() | ast.Attribute():
            _dotted(node)
            return []
        case ast.Constant(value=bool() | int() | float()):
            return []
        case ast.Call():
            _check_call(node)
            return node.args
        case ast.Subscript():
            return [node.value, *_slice_parts(node.slice)]
    return _operator_operands(node)


def _operator_operands(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BoolOp():
            return node.values
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert() | ast.Not()):
            return [node.operand]
        case ast.BinOp() if type(node.op) in _BINARY:
            return [node.left, node.right]
        case ast.Compare() if all(type(op) in _COMPARE for op in node.ops):
            return [node.left, *node.comparators]
    raise ValueError(f"{ast.unparse(node)!r} is not allowed ({type(node).__name__})")


def _check_call(node: ast.Call) -> None:
    name = _function_name(node)
    if name not in FUNCTIONS:
        raise ValueError(f"no function {name!r} ({nearest(name, FUNCTIONS)})")
    _, fewest, most = FUNCTIONS[name]
    if node.keywords or not fewest <= len(node.args) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        raise ValueError(f"{name}() takes {wanted} arguments, got {len(node.args)}")


def _function_name(node: ast.Call) -> str:
    if not isinstance(node.func, ast.Name):
        raise ValueError(f"{ast.unparse(node.func)!r} cannot be called")
    return _ALIASES.get(node.func.id, node.func.id)


def _slice_parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Slice):
        parts = [node.lower, node.upper, node.step]
        if any(p is not None and _whole_number(p) is None for p in parts):
            raise ValueError("the bounds of [a:b] must be whole numbers")
        return []
    return [node]


def _whole_number(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
    return None


def _dotted(node: ast.expr) -> str:
    """Name of a branch; ROOT's may hold dots, which is not an attribute access here."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError(f"{ast.unparse(node)!r} is not the name of a branch")


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        return {_dotted(node)} - _CONSTANTS.keys()
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return set().union(*(_names(child) for child in children))


def _evaluate(node: ast.expr, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    match node:
        case ast.Name() | ast.Attribute():
            name = _dotted(node)
            return _CONSTANTS[name] if name in _CONSTANTS else events[name]
        case ast.Constant(value=bool() as value):
            return value
        case ast.Constant(value=int() as value):
            return np.int64(value)
        case ast.Constant(value=float() as value):
            return np.float64(value)
        case ast.Call():
            function = FUNCTIONS[_function_name(node)][0]
            return function(*(_evaluate(argument, events) for argument in node.args))
        case ast.Subscript():
            return _subscript(node, events)
    return _operate(node, events)


def _operate(node: ast.expr, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    match node:
        case ast.BoolOp():
            values = [_truth(_evaluate(value, events)) for value in node.values]
            return reduce(operator.and_ if isinstance(node.op, ast.And) else operator.or_, values)
        case ast.UnaryOp(op=ast.USub()):
            return -_evaluate(node.operand, events)
        case ast.UnaryOp(op=ast.UAdd()):
            return _evaluate(node.operand, events)
        case ast.UnaryOp():
            return np.logical_not(_truth(_evaluate(node.operand, events)))
        case ast.BinOp():
            left, right = (_evaluate(side, events) for side in (node.left, node.right))
            return _BINARY[type(node.op)](left, right)
        case ast.Compare():
            sides = [_evaluate(side, events) for side in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
            return reduce(operator.and_, (_COMPARE[type(op)](a, b) for op, a, b in pairs))
    raise ValueError(f"{type(node).__name__} is not allowed")  # parse_expression refuses it first


def _subscript(node: ast.Subscript, events: Mapping[str, ak.Array]) -> Any:  # noqa: ANN401
    """``pt[0]`` (missing where there is none), ``pt[:3]``, ``pt[eta < 2]``."""
    value = _evaluate(node.value, events)
    if not isinstance(value, ak.Array) or value.ndim < 2:
        raise InputError("[…] picks entries of a jagged branch, but got one value per event")
    if isinstance(node.slice, ast.Slice):
        bounds = (node.slice.lower, node.slice.upper, node.slice.step)
        return value[:, slice(*(None if b is None else _whole_number(b) for b in bounds))]
    index = _whole_number(node.slice)
    if index is None:
        return value[_evaluate(node.slice, events)]
    needed = index + 1 if index >= 0 else -index
    return ak.pad_none(value, needed, axis=1)[:, index] if index >= 0 else _from_end(value, needed)


def _from_end(value: ak.Array, needed: int) -> ak.Array:
    enough = ak.num(value, axis=1) >= needed
    return ak.mask(value, enough)[:, -needed]


def _truth(value: Any) -> Any:  # noqa: ANN401
    """Numbers are true where they are not zero, as in C++."""
    return value != 0
