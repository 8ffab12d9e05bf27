import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from assay.attribution import CausalGraph, find_causal_graph, graph_faithfulness
from assay.attribution.causal_paths import edge_masks, mask_model, random_graph
from assay.core import InvalidInputError, parameter_distance, seeded
from assay.nets import small_conv
from assay.studies.attribution.causal_explanation.planted import planted_network


def graph_of(layers, causes, effects, units, columns=None):
    columns = columns or (1,) * len(layers)
    p_values = {name: torch.ones(count) for name, count in zip(layers, units, strict=True)}
    return CausalGraph(0, layers, causes, effects, units, columns, "input", p_values, dict.fromkeys(layers, "test"))


def test_a_mask_marks_the_columns_of_each_cause_in_the_rows_of_the_effects():
    model = small_conv((1, 8, 8), 3, channels=(3, 5), hidden=6)
    graph = graph_of(("2", "5"), ((0, 2), (1, 4)), ((1, 4), (0, 5)), (3, 5), (1, 4))
    masks = edge_masks(model, graph)
    expected = torch.zeros(5, 3, 4, 4, dtype=torch.bool)
    for e in (1, 4):
        for j in (0, 2):
            expected[e, j] = True
    assert torch.equal(masks["2.weight"], expected)
    expected = torch.zeros(6, 20, dtype=torch.bool)
    for e in (0, 5):
        for j in (1, 4):
            expected[e, 4 * j : 4 * j + 4] = True
    assert torch.equal(masks["5.weight"], expected)


def test_kernels_of_groups_are_marked_where_they_exist():
    layer = nn.Conv2d(4, 6, 3, groups=2)
    graph = graph_of(("0",), ((1, 2),), ((0, 5),), (4,))
    mask = edge_masks(nn.Sequential(layer), graph)["0.weight"][:, :, 0, 0]
    expected = torch.zeros(6, 2, dtype=torch.bool)
    expected[0, 1] = expected[5, 0] = True  # channel 1 is the second of group 0, channel 2 the first of group 1
    assert torch.equal(mask, expected)


def test_kept_and_dropped_weights_add_up_and_the_model_stays():
    model, x, _ = planted_network(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graph = find_causal_graph(model, x, 0)
    kept, dropped = mask_model(model, graph), mask_model(model, graph, keep=False)
    halved = mask_model(model, graph, keep=False, factor=0.5)
    for name, value in model.named_parameters():
        a, b, c = (dict(other.named_parameters())[name] for other in (kept, dropped, halved))
        torch.testing.assert_close(a + b, value)
        torch.testing.assert_close(0.5 * a + b, c)
        assert torch.equal(value, before[name])


def test_edges_of_another_graph_can_be_spared():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    one, other = (graph_of(("0",), (causes,), ((0,),), (3,)) for causes in ((0, 1), (1, 2)))
    weight = mask_model(model, one, keep=False, without=other)[0].weight
    assert ((weight == 0) == torch.tensor([[True, False, False], [False] * 3])).all()
    assert parameter_distance(mask_model(model, one, keep=False, without=one), model) == 0


def test_the_planted_graph_carries_the_class_alone():
    model, x, _ = planted_network(2)
    graph = find_causal_graph(model, x, 0)
    kept = mask_model(model, graph)
    torch.testing.assert_close(kept(x)[:, 0], model(x)[:, 0])
    found = graph_faithfulness(model, graph, x, n_random=5)
    assert found.kept == 1.0
    assert found.logits[2] == 0.0
    assert found.logits[0] == pytest.approx(found.logits[1])
    recalls = []
    source = seeded(0)
    for _ in range(5):
        other = mask_model(model, random_graph(graph, generator=source), keep=False, layers=graph.layers[-1:])
        recalls.append((other(x).argmax(1) == 0).double().mean())
    torch.testing.assert_close(found.random_dropped, torch.stack(recalls))
    assert "recalls 100%" in str(found)


def test_what_does_not_fit_is_refused():
    model = nn.Sequential(weight_norm(nn.Linear(3, 2)))
    graph = graph_of(("0",), ((0,),), ((0,),), (3,))
    with pytest.raises(InvalidInputError, match="remove the parametrisation"):
        mask_model(model, graph)
    with pytest.raises(InvalidInputError, match="no layer 1"):
        mask_model(model, graph, layers=["1"])
    with pytest.raises(InvalidInputError, match="does not fit"):
        mask_model(nn.Sequential(nn.Linear(4, 2)), graph)
    empty = graph_of((), (), (), ())
    with pytest.raises(InvalidInputError, match="empty"):
        graph_faithfulness(nn.Sequential(nn.Linear(3, 2)), empty, torch.rand(2, 3))
