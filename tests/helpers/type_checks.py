"""Type checks at run time, of the functions of modules and classes only."""

import ast
from typing import Any

from jaxtyping._import_hook import JaxtypingTransformer


def spare_inner_functions() -> None:
    """Leave functions within functions unchecked: their checks would be compiled at each call of the outer one.

    That took half the time of some tests. It must come before the first import of what is checked.
    """
    visit = JaxtypingTransformer.visit_FunctionDef

    def visit_outermost(self: Any, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit = lambda inner: inner
        try:
            return visit(self, node)
        finally:
            del self.generic_visit

    JaxtypingTransformer.visit_FunctionDef = visit_outermost
