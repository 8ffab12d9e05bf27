import sys

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from assay.core import InvalidInputError, MissingExtraError, seeded
from assay.nets.diffusion import GaussianMixtureDenoiser, UNetDenoiser, linear_noise_schedule

SCHEDULE = linear_noise_schedule(10, 0.01, 0.4).double()


def mixture():
    source = seeded(0)
    roots = torch.randn(3, 4, 4, generator=source, dtype=torch.float64)
    means = torch.randn(3, 4, generator=source, dtype=torch.float64)
    return torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64), means, roots @ roots.mT / 4


@pytest.mark.parametrize("t", [0, 4, 9])
def test_the_noise_is_the_score_of_the_noised_mixture(t):
    weights, means, covariances = mixture()
    x = torch.randn(6, 1, 2, 2, generator=seeded(1), dtype=torch.float64).requires_grad_()
    abar = SCHEDULE[t]
    noised = MultivariateNormal(abar.sqrt() * means, abar * covariances + (1 - abar) * torch.eye(4).double())
    density = MixtureSameFamily(Categorical(weights), noised)
    (score,) = torch.autograd.grad(density.log_prob(x.flatten(1)).sum(), x)
    noise = GaussianMixtureDenoiser(*mixture(), SCHEDULE)(x, t)
    torch.testing.assert_close(noise, -(1 - abar).sqrt() * score, rtol=1e-9, atol=1e-11)


def test_it_is_differentiable_in_the_images():
    denoiser = GaussianMixtureDenoiser(*mixture(), SCHEDULE)
    x = torch.randn(2, 4, generator=seeded(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda images: denoiser(images, 3), x)


def test_fitted_mixtures_are_joined_with_equal_shares():
    x = torch.randn(60, 2, generator=seeded(0), dtype=torch.float64)
    fitted = [GaussianMixture(2, random_state=0).fit(part.numpy()) for part in (x[:20] - 2, x[20:] + 2)]
    denoiser = GaussianMixtureDenoiser.from_sklearn(fitted, SCHEDULE)
    both = [torch.as_tensor(mixture.means_) for mixture in fitted]
    torch.testing.assert_close(denoiser.means, torch.cat(both))
    torch.testing.assert_close(denoiser.weights[:2].sum(), torch.tensor(0.5, dtype=torch.float64))
    rebuilt = denoiser.axes @ torch.diag_embed(denoiser.variances) @ denoiser.axes.mT
    torch.testing.assert_close(rebuilt[:2], torch.as_tensor(fitted[0].covariances_))


def test_the_schedule_is_that_of_diffusers():
    library = pytest.importorskip("diffusers")
    scheduler = library.DDPMScheduler(num_train_timesteps=1000)
    torch.testing.assert_close(linear_noise_schedule(), scheduler.alphas_cumprod, rtol=1e-5, atol=1e-8)


@pytest.fixture
def unet():
    library = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "add_attention": False}
    network = library.UNet2DModel(
        in_channels=1,
        out_channels=1,
        block_out_channels=(4,),
        layers_per_block=1,
        norm_num_groups=2,
        dropout=0.5,
        **blocks,
    )
    return network.double()


def test_a_unet_runs_in_evaluation_mode_and_comes_back_as_it_was(unet):
    x = torch.randn(2, 1, 4, 4, generator=seeded(0), dtype=torch.float64).requires_grad_()
    expected = unet.eval()(x, 7).sample.detach()
    unet.train()
    noise = UNetDenoiser(unet)(x, 7)
    assert torch.equal(noise, expected)
    assert unet.training
    noise.sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in unet.parameters())


def test_what_is_no_denoiser_is_refused(unet):
    with pytest.raises(InvalidInputError, match="UNet2DModel, got Linear"):
        UNetDenoiser(torch.nn.Linear(2, 2))
    unet.register_to_config(out_channels=2)
    with pytest.raises(InvalidInputError, match="takes 1 channels and gives 2"):
        UNetDenoiser(unet)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"assay\[diffusion\]"):
        UNetDenoiser(torch.nn.Linear(2, 2))


def test_bad_input_is_refused():
    weights, means, covariances = mixture()
    with pytest.raises(InvalidInputError, match="eigenvalue -"):
        GaussianMixtureDenoiser(weights, means, -covariances, SCHEDULE)
    with pytest.raises(InvalidInputError, match="covariance_type"):
        GaussianMixtureDenoiser.from_sklearn([GaussianMixture(covariance_type="diag")], SCHEDULE)
    with pytest.raises(InvalidInputError, match="at least one GaussianMixture"):
        GaussianMixtureDenoiser.from_sklearn([], SCHEDULE)
    with pytest.raises(InvalidInputError, match="n_times"):
        linear_noise_schedule(0)
    with pytest.raises(InvalidInputError, match="last must lie strictly between 0 and 1"):
        linear_noise_schedule(5, 0.1, 1.0)


@pytest.mark.parametrize("weights", [[1.5, -0.5], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_are_shares(weights):
    with pytest.raises(InvalidInputError, match="weights are shares"):
        GaussianMixtureDenoiser(
            torch.tensor(weights), torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), linear_noise_schedule(4)
        )
