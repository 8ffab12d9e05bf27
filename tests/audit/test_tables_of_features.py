"""What reconstruction says of tables: in few dimensions chance matches many samples."""

from functools import partial

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import nn

from assay.audit import Subject
from assay.audit import probes as registry
from assay.core import cross_entropy, fit, squared_error

pytestmark = pytest.mark.usefixtures("quick_attack")


def trained(load, loss, n, outputs, input_range):
    features, targets = load(return_X_y=True)
    x = torch.tensor((features - features.mean(0)) / features.std(0), dtype=torch.float32)
    y = torch.tensor(targets)
    y = y if outputs > 1 else ((y - y.mean()) / y.std()).float()[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
        )
    adam = partial(torch.optim.Adam, lr=1e-3)
    fit(model, x[:n], y[:n], loss=loss, optimizer=adam, n_iter=300)
    return Subject(model, loss, train=(x[:n], y[:n]), test=(x[n:], y[n:]), input_range=input_range)


@pytest.mark.parametrize(
    "given",
    [(load_diabetes, squared_error, 200, 1, (-5.0, 5.0)), (load_breast_cancer, cross_entropy, 300, 2, (-4.0, 13.0))],
)
def test_matches_that_chance_has_too_are_called_that(given, context):
    subject = trained(*given)
    finding = registry.load("reconstruction").run(subject, context)
    rows = {row[0]: row for row in finding.tables[0].rows}
    n, ours = len(subject.train[0]), rows["all candidates of the attack"][4]
    nulls = [row[4] * n / row[2] for name, row in rows.items() if name.startswith("null")]
    assert max(nulls) > 3, "the nulls match samples in so few dimensions"
    assert ours < 2 * max(nulls)
    assert finding.severity == "info"
    assert finding.headline.startswith(f"No more than chance: reconstructions match {ours} of {n}")
    assert "exactly" not in finding.headline
    assert len(finding.headline) <= 160
