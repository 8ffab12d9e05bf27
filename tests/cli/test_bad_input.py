"""Bad input from the command line: one sentence on stderr, exit code 2, nothing written."""

import pytest
import torch

from assay.cli import main
from helpers.command_line import assay_in_a_process, change

BAD_INPUT = {
    "missing file": (lambda folder: ["gone.py"], "give a Python file"),
    "pickle with code": (lambda folder: ["factories:network", "--weights", pickled()], "save_file(model.state_dict()"),
    "wrong shapes": (lambda folder: [change(folder, "given['train'] = (x[:, :, :3], y)")], "reshape the data"),
    "labels out of range": (lambda folder: [change(folder, "y[0] = 7")], "relabel the classes as 0..2"),
    "NaN weights": (lambda folder: [change(folder, "network[1].weight.data[0] = torch.nan")], "a healthy checkpoint"),
    "unknown kink": (
        lambda folder: [change(folder, "network[2] = nn.SELU()"), "--probe", "reconstruction"],
        "ReLU",
    ),
    "dropout on": (lambda folder: [change(folder, "network.append(nn.Dropout(0.5).train())")], "call model.eval()"),
    "empty data": (lambda folder: [change(folder, "given['train'] = (x[:0], y[:0])")], "at least one sample"),
    "unknown probe": (lambda folder: ["mine.py", "--probe", "reconstructoin"], "did you mean 'reconstruction'?"),
    "unwritable folder": (lambda folder: ["mine.py", "--out", "mine.py/audit"], "can be written with --out"),
    "unknown subject": (lambda folder: ["fashions"], "did you mean 'fashion'?"),
    "unknown device": (lambda folder: ["mine.py", "--device", "nowhere"], "leave out --device"),
    "damaged data": (
        lambda folder: ["factories:network", "--weights", "weights.pt", "--train", "factories.py"],
        "numpy.savez",
    ),
    "a bug in the user's file": (lambda folder: [change(folder, "1 / 0")], "ZeroDivisionError"),
}  # fmt: skip


class Trap:
    def __reduce__(self):
        return print, ("the trap is sprung",)


def pickled():
    torch.save(Trap(), "trap.pt")
    return "trap.pt"


@pytest.mark.parametrize(("arguments", "mend"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_sentence_with_its_mend_and_writes_nothing(folder, capsys, arguments, mend):
    given = arguments(folder)
    before = sorted(folder.rglob("*"))
    assert main(["audit", *given]) == 2
    out, err = capsys.readouterr()
    sentence = [line for line in err.splitlines() if line.startswith("assay: ")]
    assert len(sentence) == 1
    assert mend in sentence[0]
    assert "Traceback" not in err
    assert out == ""
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == before


def test_a_process_says_it_on_stderr_with_exit_code_2(folder):
    done = assay_in_a_process("audit", change(folder, "y[0] = 7"), cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(
        "assay: changed.py: subject 'Sequential' cannot be audited: train data: y holds labels from 0 to 7"
    )


def test_debug_shows_where_it_happened(folder, capsys):
    assert main(["audit", change(folder, "1 / 0"), "--debug"]) == 2
    assert "ZeroDivisionError: division by zero\n\nThe above exception" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["audit"], ["adit"], ["audit", "digits", "--fail-on", "dire"], ["audit", "a", "b"]]
)
def test_arguments_that_do_not_parse_exit_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""
