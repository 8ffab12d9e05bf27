"""Combination, class sensitivity, localisation, removal and drawing, each beside a hand-made answer."""

import math

import pytest
import torch
from captum.attr import LayerGradCam
from scipy.stats import pearsonr, spearmanr
from torch import nn

from assay.attribution.saliency import (
    NormGrad,
    box_masks,
    class_sensitivity,
    combine_saliency,
    deletion_insertion_curve,
    energy_in_box,
    make_localization,
    map_correlation,
    plot_saliency,
    plot_token_saliency,
    pointing_hits,
    upsample_saliency,
)
from assay.core import InvalidInputError, NumericalError, isolated_rng, seeded

MAPS = torch.rand(3, 1, 4, 4, generator=seeded(0), dtype=torch.float64)
OTHERS = torch.rand(3, 1, 4, 4, generator=seeded(1), dtype=torch.float64)


def network():
    with isolated_rng(0):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)
        ).double()


def test_upsampling_is_captums_and_scales_each_map():
    found = upsample_saliency(5 * MAPS - 2, (9, 7))
    expected = LayerGradCam.interpolate(MAPS, (9, 7), interpolate_mode="bilinear")
    low, high = expected.amin((1, 2, 3), keepdim=True), expected.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, (expected - low) / (high - low))
    assert (upsample_saliency(torch.ones(2, 1, 3), (5,)) == 0).all()


def test_combinations_are_those_of_the_formula():
    a, b = upsample_saliency(MAPS, (4, 4)), upsample_saliency(OTHERS, (4, 4))
    torch.testing.assert_close(combine_saliency([MAPS, OTHERS]), (a * b).sqrt())
    torch.testing.assert_close(combine_saliency([MAPS, OTHERS], "linear"), a ** (1 / 3) * b ** (2 / 3))
    torch.testing.assert_close(combine_saliency([MAPS, OTHERS], [3, 1], "sum"), 0.75 * a + 0.25 * b)
    torch.testing.assert_close(combine_saliency([MAPS, OTHERS], [1, 0]), a)
    assert combine_saliency([MAPS, OTHERS[..., :2, :2]], size=(8, 6)).shape == (3, 1, 8, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: combine_saliency([]), "one or more"),
        (lambda: combine_saliency([MAPS, OTHERS], [1]), "2 finite numbers"),
        (lambda: combine_saliency([MAPS, OTHERS], [0, 0]), "not all 0"),
        (lambda: upsample_saliency(MAPS, (3,)), "one number for each axis"),
        (lambda: map_correlation(MAPS[:, 0, 0, 0, None], MAPS[:, 0, 0, 0, None]), "no correlation"),
        (lambda: class_sensitivity(NormGrad(network(), "0"), torch.rand(2, 1, 8, 8)[:, :, :, :0]), "non-empty"),
        (lambda: energy_in_box(MAPS - 1, MAPS > 0), "negative"),
        (lambda: make_localization(torch.zeros(1, 1, 4, 4), torch.tensor([0]), torch.ones(1, 1, 4, 4), 2), "no pixel"),
        (lambda: make_localization(MAPS, torch.arange(3), MAPS, 2, size=7), "larger size"),
        (lambda: deletion_insertion_curve(network(), torch.rand(3, 1, 8, 8).double(), MAPS), "other positions"),
        (lambda: plot_saliency(MAPS.expand(-1, 2, -1, -1), {"map": MAPS}), "grey or colour"),
        (lambda: plot_token_saliency(["a"], torch.tensor([math.nan])), "one finite value"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_correlations_are_scipys_also_with_ties(method):
    a, b = (MAPS * 4).round(), (OTHERS * 4).round()
    oracle = spearmanr if method == "spearman" else pearsonr
    expected = [float(oracle(p.flatten(), q.flatten())[0]) for p, q in zip(a, b, strict=True)]
    assert map_correlation(a, b, method).tolist() == pytest.approx(expected)
    with pytest.raises(NumericalError, match="2 of 3 images are constant"):
        map_correlation(a, torch.cat([0 * b[:2], b[2:]]), method)


def test_class_sensitivity_is_the_correlation_of_maps_of_the_highest_and_lowest_class():
    model, x = network(), torch.rand(5, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    attributor = NormGrad(model, "0")
    found = class_sensitivity(attributor, x)
    rows = model(x)
    assert torch.equal(found.max_class, rows.argmax(1))
    assert torch.equal(found.min_class, rows.argmin(1))
    maps = [attributor.attribute(x, rows.argmax(1)), attributor.attribute(x, rows.argmin(1))]
    expected = [float(spearmanr(p.flatten(), q.flatten())[0]) for p, q in zip(*maps, strict=True)]
    assert found.per_image.tolist() == pytest.approx(expected)
    assert found.mean == pytest.approx(sum(expected) / 5)
    assert "correlate by" in str(found)
    twice = class_sensitivity(attributor, x, classes=(found.max_class, found.max_class))
    assert twice.per_image.tolist() == pytest.approx(5 * [1.0])


def test_captums_attributors_are_taken_and_what_is_none_is_refused():
    model, x = network(), torch.rand(5, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    theirs = class_sensitivity(LayerGradCam(model, model[0]), x)
    ours = class_sensitivity(NormGrad(model, "0", "mean_scaling", "sum"), x)
    assert theirs.per_image.tolist() == pytest.approx(ours.per_image.tolist())

    class Nameless:
        def attribute(self, inputs, target=None):
            return inputs

    with pytest.raises(InvalidInputError, match="pass model="):
        class_sensitivity(Nameless(), x)
    assert class_sensitivity(Nameless(), x, model=model).mean == pytest.approx(1)
    with pytest.raises(InvalidInputError, match="single score"):
        class_sensitivity(Nameless(), x, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 1)).double())


def test_objects_lie_where_the_boxes_say_and_boxes_do_not_overlap():
    x = torch.zeros(2, 1, 6, 6)
    x[0, :, 1:4, 2:6], x[1, :, 0:6, 3:4] = 0.5, 0.5
    found = make_localization(x, torch.tensor([7, 9]), torch.ones(3, 1, 5, 6), 30, size=12, generator=seeded(0))
    masks, others = found.masks, found.distractor_masks
    assert not (masks & others).any()
    assert torch.equal(found.x == 0.5, masks)
    assert torch.equal(found.x == 1, others)
    sizes = {7: 12, 9: 6}
    assert masks.flatten(1).sum(1).tolist() == [sizes[int(label)] for label in found.y]
    assert len(found.boxes.unique(dim=0)) > 15
    assert int(box_masks(torch.tensor([[1, 2, 3, 5]]), 6).sum()) == 6


def test_the_pointing_game_and_energy_are_counts():
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[:, :, :2] = True
    expected = [bool(m.flatten().argmax() < 8) for m in MAPS]
    assert pointing_hits(MAPS, mask).tolist() == expected
    assert not pointing_hits(torch.ones(1, 1, 4, 4), mask[:1]).any()
    torch.testing.assert_close(energy_in_box(MAPS, mask), MAPS[:, :, :2].sum((1, 2, 3)) / MAPS.sum((1, 2, 3)))


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
def test_deletion_insertion_curves_are_a_loop_over_pixels(mode):
    model, x = network(), torch.rand(3, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    order = torch.rand(3, 1, 8, 8, generator=seeded(3), dtype=torch.float64)
    found = deletion_insertion_curve(
        model, x, order, 1, mode=mode, baseline=torch.full_like(x[0], 0.3), n_iter=64, batch_size=2
    )
    for index in range(3):
        image, grey = x[index].flatten().clone(), torch.full((64,), 0.3, dtype=torch.float64)
        image, other = (image, grey) if mode == "deletion" else (grey, image)
        places, chances = order[index].flatten().argsort(descending=True), []
        for step in range(65):
            if step:
                image[places[step - 1]] = other[places[step - 1]]
            chances.append(model(image.reshape(1, 1, 8, 8)).softmax(1)[0, 1])
        expected = torch.stack(chances)
        torch.testing.assert_close(found.probabilities[index], expected.detach())
        torch.testing.assert_close(found.auc[index], ((expected[1:] + expected[:-1]) / 2).mean().detach())


def test_text_is_broken_into_lines_and_coloured_by_saliency():
    figure = plot_token_saliency(["one", "two", "three", "four"], torch.tensor([0.0, 0.1, 0.2, 1.0]), characters=8)
    texts = figure.axes[0].texts
    assert [text.get_position() for text in texts] == [(0, 0.5), (4, 0.5), (0, 1.5), (0, 2.5)]
    shades = [text.get_bbox_patch().get_facecolor() for text in texts]
    assert len(set(shades)) == 4
    assert shades[0][2] > shades[3][2]  # paler blue where nothing is
