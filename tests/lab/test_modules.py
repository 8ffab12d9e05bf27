import ast
from pathlib import Path

import pytest

import assay
from assay.lab.modules import plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("x = 1  # why\n\n\ny = '#'\n", "x = 1\ny = '#'"),
        ('"""Über."""\nx = 1\n"""About x."""\n', "x = 1"),
        ('def f(): "Doc."; return 1\n', "def f(): ; return 1"),
        ('x = """a\n\n  b  \n# no comment\n"""  # why\n', 'x = """a\n\n  b  \n# no comment\n"""'),
        ('x = ("a"\n     # why\n     "b")\n', 'x = ("a"\n     "b")'),
        ('x = f"""é\n\n{y}"""; z = 1  # é\n', 'x = f"""é\n\n{y}"""; z = 1'),
        ("class A:\n    '''One.\n\n    Two.\n    '''\n\n    a = 1   \n", "class A:\n    a = 1"),
    ],
)
def test_plain_text_is_the_code_alone(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_the_whole_library_keeps_its_meaning_without_words() -> None:
    class Bare(ast.NodeTransformer):
        def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
            is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            return None if is_text else node

    compared = 0
    for path in sorted(Path(assay.__file__).parent.rglob("*.py")):
        bare = ast.dump(Bare().visit(ast.parse(path.read_text())))
        filled = plain_text(path.read_text())
        try:
            again = ast.dump(ast.parse(filled))
        except SyntaxError:  # a class or function of a docstring alone
            continue
        assert again == bare, path
        compared += 1
    assert compared > 150
