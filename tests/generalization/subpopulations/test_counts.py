import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.generalization.subpopulations import balanced_subgroups, draw_cells, modified_cifar4, spurious_counts

CELLS = torch.cartesian_prod(torch.arange(2), torch.arange(2))


@pytest.mark.parametrize(
    ("strength", "table"),  # air-animal, air-vehicle; land-animal, land-vehicle
    [
        (0.2, [[2500, 2500], [1500, 3500]]),
        (0.6, [[3500, 1500], [500, 4500]]),
        (0.7, [[3750, 1250], [250, 4750]]),
        (0.78, [[3950, 1050], [50, 4950]]),
    ],
)
def test_the_papers_controlled_tables_follow_from_their_strengths(strength, table):
    assert spurious_counts(10_000, 0.5, 0.6, strength).tolist() == table


def test_marginals_do_not_depend_on_the_strength():
    for n in (7, 101, 1000):
        for p_y, p_z in ((0.5, 0.5), (0.3, 0.8)):
            tables = [spurious_counts(n, p_y, p_z, strength) for strength in (-0.2, 0.0, 0.1, 0.25)]
            assert all((table >= 0).all() and int(table.sum()) == n for table in tables)
            assert len({tuple(table.sum(0).tolist()) for table in tables}) == 1
            assert len({tuple(table.sum(1).tolist()) for table in tables}) == 1
    pi = tables[-1][:, 1] / tables[-1].sum(1)
    assert float(pi[1] - pi[0]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 0.5, 0.6, 0.9), "between -0.8 and 0.8"),
        ((100, 1.0, 0.6, 0.1), "p_y must lie strictly"),
        ((0, 0.5, 0.6, 0.1), "n must be a whole number"),
    ],
)
def test_impossible_tables_are_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        spurious_counts(*arguments)


def test_cells_are_drawn_as_the_table_says_without_replacement():
    y, z = CELLS.repeat(50, 1).T
    table = torch.tensor([[30, 2], [0, 50]])
    index = draw_cells(y, z, table, generator=seeded(1))
    assert len(index.unique()) == len(index) == 82
    found = torch.zeros(2, 2, dtype=torch.long).index_put((y[index], z[index]), torch.tensor(1), accumulate=True)
    assert torch.equal(found, table)
    assert torch.equal(index, draw_cells(y, z, table, generator=seeded(1)))
    assert not torch.equal(index, draw_cells(y, z, table, generator=seeded(2)))


def test_evaluation_sets_are_balanced_over_labels():
    y, groups = torch.tensor([0, 0, 0, 1, 1, 0, 1]), torch.tensor([4, 4, 4, 4, 9, 9, 9])
    sets = balanced_subgroups(y, groups)
    assert set(sets) == {4, 9}
    for group, index in sets.items():
        assert (groups[index] == group).all()
        assert y[index].double().mean() == 0.5
    with pytest.raises(InvalidInputError, match="subgroup 9 has no sample of label 0"):
        balanced_subgroups(y, torch.tensor([4, 4, 4, 4, 9, 4, 9]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, z: draw_cells(y, z, torch.tensor([[3, 0], [0, 0]])), "has 2 samples, and the table asks for 3"),
        (lambda y, z: draw_cells(y, z, torch.tensor([[0.5, 0.5]])), "table of whole numbers"),
        (lambda y, z: draw_cells(y, z[:3], torch.ones(2, 2, dtype=torch.long)), "8 labels came with 3 groups"),
        (lambda y, z: draw_cells(y.float(), z, torch.ones(2, 2, dtype=torch.long)), "vector of whole numbers"),
        (lambda y, z: modified_cifar4(y, "V3"), "version must be one of"),
        (lambda y, z: modified_cifar4(y), "has 0 samples|has 2 samples|has 4 samples"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(*CELLS.repeat(2, 1).T)


def test_modified_cifar4_has_the_classes_of_each_version():
    labels = torch.arange(10).repeat(20)
    airplane, automobile, bird, horse = 0, 1, 2, 7
    for version, majority in (("V1", {airplane, horse}), ("V2", {airplane, automobile})):
        chosen = modified_cifar4(labels, version, n_majority=9, n_minority=2)
        found = labels[chosen.index]
        assert set(found[chosen.is_majority].tolist()) == majority
        counted = {number: int((found == number).sum()) for number in (airplane, automobile, bird, horse)}
        assert counted == {number: 9 if number in majority else 2 for number in counted}
        assert torch.equal(chosen.y, torch.isin(found, torch.tensor([automobile, horse])).long())  # land
        assert torch.equal(chosen.z, torch.isin(found, torch.tensor([bird, horse])).long())  # animal
