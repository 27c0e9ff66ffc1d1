"""The syntax of expressions: from what physicists write to a syntax tree of allowed parts only."""

import ast
import re

from hepml.data.functions import ALIASES, CONSTANTS, FUNCTIONS
from hepml.errors import nearest

MAX_LENGTH = 2000
MAX_DEPTH = 60
BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr)
COMPARE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def read(text: str) -> ast.expr:
    """Parse and check the text of an expression.

    Raises:
        ValueError: saying what is not allowed.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    source = _to_python(text)
    tree = _parse(source)
    _check(tree, source)
    return tree


def names(node: ast.AST) -> set[str]:
    """Names of the branches and variables that occur."""
    if isinstance(node, ast.Name | ast.Attribute):
        return {dotted(node)} - CONSTANTS.keys()
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return set().union(*(names(child) for child in children))


def _to_python(text: str) -> str:
    """Translate the operators of C++ and ROOT's special functions; quotes do not occur."""
    odd = re.search(r"[^\w\s.+\-*/%()\[\]<>=!&|~,:$^?]", text, re.ASCII)
    if odd:
        raise ValueError(f"the character {odd.group()!r} is not allowed")
    if "^" in text:
        raise ValueError("'^' is a power in ROOT and exclusive-or in numexpr; write ** for a power")
    if "?" in text:
        raise ValueError("write where(condition, a, b) instead of condition ? a : b")
    if re.search(r"(?<![<>=!:])=(?!=)", text):
        raise ValueError("a single '=' is no comparison; write ==")
    text = re.sub(r"\bTMath::Pi\(\s*\)", "pi", " ".join(text.split()))
    text = re.sub(r"\b(?:TMath|std)::(\w+)", lambda match: match.group(1).lower(), text)
    text = re.sub(r"\b(\w+)\$", lambda match: match.group(1).lower(), text)
    text = text.replace("&&", " and ").replace("||", " or ")
    # binds as tightly as in C++, other than `not`
    return re.sub(r"!(?!=)", "~", text).strip()


def _parse(source: str) -> ast.expr:
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"{error.msg} at {source[max((error.offset or 1) - 1, 0) :][:20]!r}"
        ) from None
    except (RecursionError, MemoryError):
        raise ValueError("too deeply nested") from None
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _check(node: ast.expr, source: str) -> None:
    """Raise ValueError at the first construct that is not allowed."""
    for child in _operands(node, source):
        _check(child, source)


def _operands(node: ast.expr, source: str) -> list[ast.expr]:
    """Parts of a node that is allowed.

    Raises:
        ValueError: if it is not.
    """
    match node:
        case ast.Name() | ast.Attribute():
            dotted(node)
            return []
        case ast.Constant(value=bool() | float()):
            return []
        case ast.Constant(value=int(value)) if value < 2**63:
            return []
        case ast.Call():
            _check_call(node)
            return node.args
        case ast.Subscript():
            return [node.value, *_slice_parts(node.slice)]
    return _operator_operands(node, source)


def _operator_operands(node: ast.expr, source: str) -> list[ast.expr]:
    match node:
        case ast.BoolOp():
            return node.values
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert() | ast.Not()):
            return [node.operand]
        case ast.BinOp() if isinstance(node.op, BINARY):
            return [node.left, node.right]
        case ast.Compare() if all(isinstance(op, COMPARE) for op in node.ops):
            _check_precedence(node, source)
            return [node.left, *node.comparators]
    raise ValueError(f"{ast.unparse(node)!r} is not allowed")


def _check_precedence(node: ast.Compare, source: str) -> None:
    """Refuse ``a > 1 & b < 2``, which C++ and numexpr read differently."""
    for side in (node.left, *node.comparators):
        if not (isinstance(side, ast.BinOp) and isinstance(side.op, ast.BitAnd | ast.BitOr)):
            continue
        first = side is node.left
        bare = (
            side.col_offset == node.col_offset
            if first
            else (source[: side.col_offset].rstrip()[-1] != "(")
        )
        if bare:
            raise ValueError(
                "& and | bind tighter than comparisons in numexpr, looser in C++; put each "
                "comparison in parentheses, or write && and ||"
            )


def _check_call(node: ast.Call) -> None:
    name = function_name(node)
    if name not in FUNCTIONS:
        raise ValueError(f"no function {name!r} ({nearest(name, FUNCTIONS)})")
    _, fewest, most = FUNCTIONS[name]
    if node.keywords or not fewest <= len(node.args) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        given = len(node.args) + len(node.keywords)
        raise ValueError(f"{name}() takes {wanted} arguments, got {given}")
    if name == "first" and (whole_number(node.args[1]) or 0) < 1:
        raise ValueError("first(x, n) takes a positive whole number n")


def function_name(node: ast.Call) -> str:
    """Name of the function that is called, without aliases."""
    if not isinstance(node.func, ast.Name):
        raise ValueError(f"{ast.unparse(node.func)!r} cannot be called")
    return ALIASES.get(node.func.id, node.func.id)


def _slice_parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.Slice):
        given = [part for part in (node.lower, node.upper, node.step) if part is not None]
        if any(whole_number(part) is None for part in given):
            raise ValueError("the bounds of [a:b] must be whole numbers")
        if node.step is not None and whole_number(node.step) == 0:
            raise ValueError("the step of [a:b:step] must not be 0")
        return []
    return [node]


def whole_number(node: ast.expr | None) -> int | None:
    """Value of a literal whole number, None for anything else."""
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
    return None


def dotted(node: ast.expr) -> str:
    """Name of a branch; ROOT's may hold dots, which is not an attribute access here."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{_plain(node.attr)}"
    if isinstance(node, ast.Name):
        return _plain(node.id)
    raise ValueError(f"{ast.unparse(node)!r} is not the name of a branch")


def _plain(name: str) -> str:
    if name.startswith("__"):
        raise ValueError(f"the name {name!r} is not allowed")
    return name
