"""What an expression comes to, on Arrow columns.

A missing value (NULL, NaN, infinite) makes whatever needs it missing, and a missing condition is not met.
"""

import ast
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import PlanError
from engine.train.cuts_language import ARITHMETIC, COMPARISONS, FUNCTIONS, UNARY, Expression, flat
from engine.types import Bools, Doubles

REAL = (ast.Div, ast.Pow)


def conditions(expression: Expression, columns: Mapping[str, Any]) -> Bools:
    """Where a condition is met; PlanError when it is none."""
    found = _evaluated(expression, columns)
    if not pa.types.is_boolean(found.type):
        raise PlanError(f"{expression.where}: {expression.text!r} is {found.type}, no condition; compare it")
    return found.fill_null(False).to_numpy(zero_copy_only=False)


def numbers(expression: Expression, columns: Mapping[str, Any]) -> Doubles:
    """What an expression comes to, NaN where it is missing; PlanError when it is no number."""
    found = _evaluated(expression, columns)
    if not (pa.types.is_integer(found.type) or pa.types.is_floating(found.type)):
        what = "column " if expression.is_column else ""
        raise PlanError(f"{expression.where}: {what}{expression.text} is {found.type}, not numbers")
    return found.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)


def unset(expression: Expression, columns: Mapping[str, Any]) -> Bools:
    """Where a flag is known to be zero."""
    found = _evaluated(expression, columns)
    clear = found if pa.types.is_boolean(found.type) else pa.array(numbers(expression, columns) != 0)
    return ~clear.fill_null(True).to_numpy(zero_copy_only=False)


def _evaluated(expression: Expression, columns: Mapping[str, Any]) -> pa.Array:
    rows = len(next(iter(columns.values())))
    try:
        found = _value(expression.tree, {name: plain(columns[name]) for name in expression.names})
    except (pa.ArrowException, OverflowError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise PlanError(f"{expression.where}: {expression.text!r} cannot be computed: {reason}") from None
    return found if isinstance(found, pa.Array) else pa.array([found.as_py()] * rows, found.type)


def plain(values: Any) -> pa.Array:
    """A column as 64-bit integers, doubles, text or truth values, with NULL for what is no number."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    kind = values.type
    if pa.types.is_dictionary(kind):
        return plain(values.cast(kind.value_type))
    if pa.types.is_integer(kind):
        return values.cast(pa.int64())
    return _finite(values.cast(pa.float64())) if _is_real(kind) else values


def _is_real(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _finite(values: Any) -> Any:
    """Doubles with NULL for NaN and infinity; anything else as it is."""
    if not pa.types.is_floating(values.type):
        return values
    return _call("if_else", _call("is_finite", values), values, pa.scalar(None, pa.float64()))


def _call(name: str, *arguments: Any) -> Any:
    return pc.call_function(name, list(arguments))


def _value(node: ast.expr, columns: Mapping[str, pa.Array]) -> Any:
    """An Arrow array, or a scalar where no column is named."""
    match node:
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=value):
            return pa.scalar(value)
        case ast.UnaryOp(op=op, operand=operand):
            return _call(UNARY[type(op)], _value(operand, columns))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _finite(_call(FUNCTIONS[name], _value(argument, columns)))
        case ast.BoolOp(op=op, values=parts):
            name = "and_kleene" if isinstance(op, ast.And) else "or_kleene"
            return reduce(lambda a, b: _call(name, a, b), (_value(part, columns) for part in parts))
        case ast.BinOp(left=left, op=op, right=right):
            sides = (_value(left, columns), _value(right, columns))
            sides = tuple(side.cast(pa.float64()) for side in sides) if isinstance(op, REAL) else sides
            return _finite(_call(ARITHMETIC[type(op)], *sides))
    assert isinstance(node, ast.Compare)
    return _compared(node, columns)


def _compared(node: ast.Compare, columns: Mapping[str, pa.Array]) -> Any:
    """a < b <= c as a < b and b <= c."""
    left, links = _value(node.left, columns), []
    for op, other in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            equal = [_call("equal", left, _value(item, columns)) for item in flat([other])]
            inside = reduce(lambda a, b: _call("or_kleene", a, b), equal, pa.scalar(False))
            links.append(inside if isinstance(op, ast.In) else _call("invert", inside))
        else:
            right = _value(other, columns)
            links.append(_call(COMPARISONS[type(op)], left, right))
            left = right
    return reduce(lambda a, b: _call("and_kleene", a, b), links)
