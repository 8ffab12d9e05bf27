import torch

from assay.reconstruction.known_start.votes import elect


def ncc(a, b):
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / a.norm() / b.norm())


def found_pool():
    """Return three restarts: two samples in all of them, one in the first alone, and noise."""
    source = torch.Generator().manual_seed(0)
    samples = torch.randn(3, 40, generator=source)
    pool = torch.randn(3, 5, 40, generator=source)
    for restart in range(3):
        pool[restart, :2] = samples[:2] + 0.1 * torch.randn(2, 40, generator=source)
    pool[0, 2] = samples[2]
    return samples, pool


def test_votes_are_mean_best_correlations_in_the_other_restarts():
    _, pool = found_pool()
    mean = torch.linspace(-1, 1, 40)
    wanted = []
    for a in range(3):
        for x in pool[a]:
            best = [max(ncc(x - mean, other - mean) for other in pool[b]) for b in range(3) if b != a]
            wanted.append(sum(best) / 2)
    elected = elect(pool, mean, 15)
    # All votes are there but those of near-copies of what has more.
    assert all(min(abs(vote - other) for other in wanted) < 1e-5 for vote in elected.votes.tolist())
    torch.testing.assert_close(elected.votes[0], torch.tensor(max(wanted)))
    assert elected.votes.tolist() == sorted(elected.votes.tolist(), reverse=True)


def test_what_all_restarts_found_comes_first_and_once_and_is_averaged():
    samples, pool = found_pool()
    elected = elect(pool, torch.zeros(40), 4)
    likeness = [[ncc(x, sample) for sample in samples] for x in elected.candidates]
    assert sorted(row.index(max(row)) for row in likeness[:2]) == [0, 1]
    assert max(max(row[:2]) for row in likeness[2:]) < 0.8
    assert min(max(row) for row in likeness[:2]) > max(max(ncc(x, s) for s in samples) for x in pool[1, :2]) - 0.01
    assert len(elected.candidates) == 4


def test_a_single_restart_has_no_votes():
    _, pool = found_pool()
    assert elect(pool[:1], torch.zeros(40), 3).votes.tolist() == [0, 0, 0]
