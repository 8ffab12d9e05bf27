import networkx
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from assay.attribution import find_causal_graph
from assay.attribution.causal_paths import CausalGraph, PathEffect, random_graph, select_causes
from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.studies.attribution.causal_explanation.planted import planted_network


def effect(total, observed):
    return PathEffect(total, total / observed.abs(), total.abs(), observed)


def samples(seed=0, n=40, causes=9):
    source = seeded(seed)
    observed = 3 + torch.randn(n, generator=source, dtype=torch.float64)
    means = torch.linspace(-1, 0.5, causes, dtype=torch.float64)[:, None]
    return means + 0.5 * torch.randn(causes, n, generator=source, dtype=torch.float64), observed


def test_the_tests_agree_with_scipy():
    total, observed = samples()
    changed = (total + observed).numpy()
    n = len(observed)
    below = observed.mean().item() - stats.norm.ppf(0.95) * np.sqrt(
        (changed.var(1, ddof=1) + observed.numpy().var(ddof=1)) / n
    )
    expected = tuple(np.flatnonzero(changed.mean(1) < below).tolist())
    assert 0 < len(expected) < 9
    assert select_causes(effect(total, observed)).places == expected
    found = select_causes(effect(total, observed), test="paired").p_values
    expected = stats.ttest_rel(changed, observed.numpy()[None], axis=1, alternative="less").pvalue
    np.testing.assert_allclose(found, expected)
    both = select_causes(effect(total, observed), test="paired", sign="both").p_values
    np.testing.assert_allclose(both, stats.ttest_rel(changed, observed.numpy()[None], axis=1).pvalue)


def test_holm_agrees_with_the_step_down_rule():
    total, observed = samples(seed=4)
    p = select_causes(effect(total, observed), test="paired").p_values.tolist()
    order, chosen = sorted(range(len(p)), key=p.__getitem__), set()
    for place, cause in enumerate(order):
        if p[cause] >= 0.05 / (len(p) - place):
            break
        chosen.add(cause)
    assert set(select_causes(effect(total, observed), test="paired", correction="holm").places) == chosen


def test_fallbacks():
    observed = torch.tensor([5.0, -5.0, 0.0, 1.0], dtype=torch.float64)
    total = torch.tensor([[-0.1], [-1e-5], [0.0], [0.2]], dtype=torch.float64).expand(-1, 4)
    weak = PathEffect(total, total / 5, total.abs(), observed)
    found = select_causes(weak)
    assert (found.places, found.rule) == ((0,), "threshold")
    weaker = PathEffect(total / 1000, total / 5000, total.abs(), observed)
    found = select_causes(weaker)
    assert (found.places, found.rule) == ((0,), "share")
    none = PathEffect(0 * total, 0 * total, 0 * total, observed)
    assert select_causes(none).places == ()
    single = PathEffect(total[:, :1], total[:, :1] / 1, total[:, :1].abs(), observed[:1])
    assert select_causes(single).places == (0,)
    assert select_causes(single, sign="both").places == (0, 3)


@pytest.mark.parametrize("seed", range(6))
def test_planted_causes_are_found_and_no_others(seed):
    model, x, planted = planted_network(seed)
    assert tuple(set(causes) for causes in find_causal_graph(model, x, 0).causes[1:]) == planted


def test_the_graph_is_that_of_a_search_by_hand():
    model, x = (
        mlp((4, 6, 6, 3), generator=seeded(2)).double(),
        1 + torch.rand(60, 4, generator=seeded(3), dtype=torch.float64),
    )
    target = int(model(x).argmax(1).mode().values)
    x = x[model(x).argmax(1) == target]
    effects = [target]
    expected = []
    for place in (4, 2):
        chosen = []
        for unit in range(6):
            weight = model[place].weight
            before = weight.detach().clone()
            with torch.no_grad():
                y = model(x)[:, target]
                weight[effects, unit] = 0.0
                changed = model(x)[:, target]
                weight.copy_(before)
            if changed.mean() < y.mean() - 1.6448536 * ((y.var() + changed.var()) / len(x)).sqrt():
                chosen.append(unit)
        expected.insert(0, tuple(chosen))
        effects = chosen
    assert all(expected)
    assert find_causal_graph(model, x, target).causes[1:] == tuple(expected)
    small = find_causal_graph(model, x, target, batch_size=7)
    assert small.causes[1:] == tuple(expected)


def test_samples_of_other_classes_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    model[0].weight.data.copy_(torch.eye(2))
    x = torch.tensor([[2.0, 1.0], [0.0, 9.0], [2.2, 1.0]], dtype=torch.float64)
    graph = find_causal_graph(model, x, 0, inputs=True)
    assert graph.causes == ((0,),)
    assert graph.rules == {"0": "test"}
    with pytest.raises(InvalidInputError, match="none of the 1 samples"):
        find_causal_graph(model, x[1:2], 0)


def test_wide_layers_are_searched_by_weight():
    model = nn.Sequential(nn.Linear(40, 2, bias=False)).double()
    model[0].weight.data[0] = torch.linspace(-1, 1, 40)
    model[0].weight.data[1] = -9.0
    graph = find_causal_graph(model, torch.ones(3, 40, dtype=torch.float64), 0, inputs=True, most_tested=10)
    tested = {unit for unit, p in enumerate(graph.p_values["0"].tolist()) if p < 1}
    assert tested <= {0, 1, 18, 19, 20, 21, 36, 37, 38, 39}
    assert set(graph.causes[0]) == {36, 37, 38, 39, 20} or set(graph.causes[0]) == {36, 37, 38, 39, 20, 21}


def test_graphs_are_compared_and_handed_to_networkx():
    model, x, _ = planted_network(0)
    graph = find_causal_graph(model, x, 0)
    other = random_graph(graph, generator=seeded(1))
    assert [len(causes) for causes in other.causes] == [len(causes) for causes in graph.causes]
    assert other.effects[:-1] == other.causes[1:]
    a, b = graph.selected, other.selected
    assert graph.jaccard(other) == len(a & b) / len(a | b)
    assert graph.jaccard(graph) == 1.0
    drawn = graph.to_networkx()
    assert drawn.number_of_edges() == len(graph.edges()) == 8 * 6 + 6 * 6 + 6
    reached = networkx.ancestors(drawn, ("4", 0))
    assert {node for node in reached if node[0] == "2"} == {("2", unit) for unit in graph.causes[2]}
    assert "causes" in str(graph)


def test_an_empty_layer_ends_the_graph():
    model = mlp((3, 4, 2), bias="none").double()
    model[2].weight.data[0] = 0.0
    model[2].weight.data[1] = -1.0
    graph = find_causal_graph(model, torch.rand(9, 3, dtype=torch.float64), 0)
    assert graph.layers == ()
    assert isinstance(graph, CausalGraph)
    assert "none in any layer" in str(graph)


def test_one_output_is_refused():
    with pytest.raises(InvalidInputError, match="one output"):
        find_causal_graph(mlp((3, 4, 1)), torch.rand(9, 3), 0)
