"""What a spec may say about columns: arithmetic, comparisons and bits, in Python's words.

Nothing is run: the text becomes a tree of the few kinds of nodes below, and anything else is refused.
`cuts_values.py` says what a tree comes to.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import PlanError

ARITHMETIC: Mapping[type, str] = {
    ast.Add: "add_checked",
    ast.Sub: "subtract_checked",
    ast.Mult: "multiply_checked",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.BitAnd: "bit_wise_and",
    ast.BitOr: "bit_wise_or",
    ast.BitXor: "bit_wise_xor",
}
COMPARISONS: Mapping[type, str] = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
UNARY: Mapping[type, str] = {ast.USub: "negate_checked", ast.Not: "invert", ast.Invert: "bit_wise_not"}
FUNCTIONS = {"abs": "abs_checked", "sqrt": "sqrt", "log10": "log10", "exp": "exp", "known": "is_valid"}
LONGEST = 1000
SAID = f"comparisons, + - * / **, & | ^ ~, and, or, not, in, {', '.join(FUNCTIONS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """An expression that was understood: its text, where the spec has it, and the columns it names."""

    text: str
    where: str
    names: frozenset[str]
    tree: ast.expr

    @property
    def is_column(self) -> bool:
        """Whether it is a column as it stands."""
        return isinstance(self.tree, ast.Name)


def parse(text: str, where: str) -> Expression:
    """The expression in a text; PlanError, naming its place in the spec, when it is none."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"longer than {LONGEST} characters")
        tree = ast.parse(text.strip(), mode="eval").body
        names = _names(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise PlanError(
            f"{where}: {text!r} is no expression of columns ({reason}); there are {SAID}; "
            'write == for "equals"'
        ) from None
    return Expression(text=text, where=where, names=frozenset(names), tree=tree)


def column(name: str, where: str) -> Expression:
    """A column by its name, whatever characters it has."""
    return Expression(text=name, where=where, names=frozenset((name,)), tree=ast.Name(id=name))


def _names(node: ast.expr) -> set[str]:
    """The columns that a tree names; ValueError for what cannot be said."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Constant(value=bool() | int() | float() | str()):
            return set()
        case ast.BoolOp(values=parts):
            return set().union(*map(_names, parts))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return _names(left) | _names(right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return _names(argument)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(map(_is_comparison, ops, others)):
            return _names(left).union(*map(_names, flat(others)))
    raise ValueError(f"{ast.unparse(node)[:50]!r} cannot be said")


def _is_comparison(op: ast.cmpop, other: ast.expr) -> bool:
    return type(op) in COMPARISONS or (
        isinstance(op, ast.In | ast.NotIn) and isinstance(other, ast.Tuple | ast.List)
    )


def flat(nodes: list[ast.expr]) -> list[ast.expr]:
    """Members of lists in the place of the lists."""
    return [
        item for node in nodes for item in (node.elts if isinstance(node, ast.Tuple | ast.List) else [node])
    ]
