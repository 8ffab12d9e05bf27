import pytest
import torch

from assay.core import InvalidInputError, NumericalError, seeded
from assay.nets.diffusion import GaussianMixtureDenoiser, GuidedDDIMSampler, linear_noise_schedule

SCHEDULE = linear_noise_schedule(20, 0.01, 0.3).double()
ONE = linear_noise_schedule(1, 0.3, 0.3).double()


def wavy(x, t):
    return (x + 0.1 * t).sin()


def bowl(images):
    """A loss with its own value for each image."""
    return ((images - 0.3) ** 3).flatten(1).sum(1)


def start(shape, seed):
    return torch.randn(shape, generator=seeded(seed)).double()


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("stride", [1, 5])
def test_without_guidance_it_is_ddim_of_diffusers(clip, stride):
    library = pytest.importorskip("diffusers")
    scheduler = library.DDIMScheduler(
        num_train_timesteps=20, beta_start=0.01, beta_end=0.3, clip_sample=clip, set_alpha_to_one=True
    )
    scheduler.set_timesteps(20 // stride)
    scheduler.timesteps = scheduler.timesteps + stride - 1  # this library's last step ends at the clean image
    x = start((3, 1, 2, 2), 4)
    for t in scheduler.timesteps:
        x = scheduler.step(wavy(x, int(t)), t, x).prev_sample
    sampler = GuidedDDIMSampler(wavy, SCHEDULE, strength=0.0, recurrence=1, stride=stride, clip=clip)
    found = sampler.sample((3, 1, 2, 2), guidance=bowl, generator=seeded(4))
    torch.testing.assert_close(found, (x + 1) / 2, rtol=1e-5, atol=1e-6)
    assert torch.equal(found, sampler.sample((3, 1, 2, 2), generator=seeded(4)))


@pytest.mark.parametrize("clip", [True, False])
def test_guidance_is_the_finite_difference_of_the_loss_at_the_denoised_image(clip):
    x, abar, step = start((2, 3), 4), ONE[0], 1e-6

    def clean(images, noise):
        found = (images - (1 - abar).sqrt() * noise) / abar.sqrt()
        return found.clamp(-1, 1) if clip else found

    def loss(images):
        return bowl((clean(images, wavy(images, 0)) + 1) / 2).sum()

    pull = torch.zeros_like(x)
    for index in range(x.numel()):
        nudge = torch.zeros(x.numel(), dtype=x.dtype)
        nudge[index] = step
        pull.view(-1)[index] = (loss(x + nudge.view_as(x)) - loss(x - nudge.view_as(x))) / (2 * step)
    assert pull.abs().max() > 0.01
    expected = clean(x, wavy(x, 0) + (1 - abar).sqrt() * 0.7 * pull)
    found = GuidedDDIMSampler(wavy, ONE, strength=0.7, recurrence=1, clip=clip).sample(
        (2, 3), guidance=bowl, generator=seeded(4)
    )
    torch.testing.assert_close(found, (expected + 1) / 2, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("recurrence", [1, 3])
def test_samples_of_a_gaussian_have_its_mean_and_covariance(recurrence):
    # 4000 samples: the standard error of a variance is 2.2% of it, of the mean 1.6% of a deviation.
    mean = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    covariance = torch.tensor([[[0.3, 0.1], [0.1, 0.2]]], dtype=torch.float64)
    schedule = linear_noise_schedule(100, 1e-3, 0.1).double()
    denoiser = GaussianMixtureDenoiser(torch.ones(1, dtype=torch.float64), mean, covariance, schedule)
    sampler = GuidedDDIMSampler(denoiser, schedule, recurrence=recurrence, clip=False)
    found = 2 * sampler.sample((4000, 2), batch_size=4000, generator=seeded(0)) - 1
    torch.testing.assert_close(found.mean(0), mean[0], rtol=0, atol=0.05)
    torch.testing.assert_close(found.T.cov(), covariance[0], rtol=0, atol=0.03)


def test_every_step_is_repeated_and_the_noise_put_back():
    # With the noise known to be zero, a repeat turns x_0 into sqrt(alpha) x_0 + sqrt(1 - alpha) z and divides it again.
    sampler = GuidedDDIMSampler(lambda x, t: torch.zeros_like(x), ONE, recurrence=2, clip=False)
    source = seeded(4)
    first, second = (torch.randn(2, 3, generator=source).double() for _ in range(2))
    root, rest = ONE[0].sqrt(), (1 - ONE[0]).sqrt()
    expected = (root * (first / root) + rest * second) / root
    found = sampler.sample((2, 3), generator=seeded(4))
    torch.testing.assert_close(2 * found - 1, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_does_not_matter(state):
    expected = GuidedDDIMSampler(wavy, SCHEDULE, recurrence=2).sample((2, 3), guidance=bowl)
    with state():
        found = GuidedDDIMSampler(wavy, SCHEDULE.clone(), recurrence=2).sample((2, 3), guidance=bowl)
    assert torch.equal(found, expected)


def test_a_stride_visits_the_noisiest_time_first():
    times = []

    def record(x, t):
        times.append(t)
        return x

    GuidedDDIMSampler(record, SCHEDULE, recurrence=2, stride=8).sample((1, 2))
    assert times == [19, 19, 11, 11, 3, 3]


def mixture(schedule):
    """A denoiser of two coordinates with variances 0.3 and 0.05."""
    variances = torch.tensor([0.3, 0.05]).double().diag()[None]
    return GaussianMixtureDenoiser(torch.ones(1).double(), torch.zeros(1, 2).double(), variances, schedule)


def test_the_schedule_is_the_denoisers_own():
    denoiser = mixture(SCHEDULE)
    images = GuidedDDIMSampler(denoiser, recurrence=1, clip=False).sample((3000, 2), batch_size=3000)
    torch.testing.assert_close((2 * images - 1).T.cov(), denoiser_covariance(), rtol=0.15, atol=0.02)
    given = GuidedDDIMSampler(denoiser, SCHEDULE.clone(), recurrence=1).sample((3, 2))
    assert torch.equal(given, GuidedDDIMSampler(denoiser, recurrence=1).sample((3, 2)))
    for other in (SCHEDULE[:10], linear_noise_schedule(20, 0.01, 0.2).double(), linear_noise_schedule(30).double()):
        with pytest.raises(InvalidInputError, match="the denoiser's own has 20 and ends at"):
            GuidedDDIMSampler(denoiser, other)
    with pytest.raises(InvalidInputError, match="pass the noise schedule it was trained with"):
        GuidedDDIMSampler(wavy)


def denoiser_covariance():
    return torch.tensor([[0.3, 0.0], [0.0, 0.05]]).double()


def test_bad_input_is_refused():
    for strength in (-5.0, float("nan")):
        with pytest.raises(InvalidInputError, match="strength must be zero or a positive number"):
            GuidedDDIMSampler(wavy, SCHEDULE, strength=strength)
    single = torch.nn.Linear(3, 3)
    with pytest.raises(InvalidInputError, match=r"does not take images .* in torch.float64 at time 19"):
        GuidedDDIMSampler(lambda x, t: single(x), SCHEDULE).sample((2, 3))
    with pytest.raises(InvalidInputError, match=r"does not take images .* at time 19 .*of its times"):
        GuidedDDIMSampler(lambda x, t: SCHEDULE[:10][t] * x, SCHEDULE).sample((2, 3))
    with pytest.raises(InvalidInputError, match="alphas_cumprod must fall"):
        GuidedDDIMSampler(wavy, SCHEDULE.flip(0))
    with pytest.raises(InvalidInputError, match="recurrence must be a whole number of at least 1, got 0"):
        GuidedDDIMSampler(wavy, SCHEDULE, recurrence=0)
    with pytest.raises(InvalidInputError, match="at least one image"):
        GuidedDDIMSampler(wavy, SCHEDULE).sample((0, 3))
    with pytest.raises(InvalidInputError, match="noise of each entry"):
        GuidedDDIMSampler(lambda x, t: x[:1], SCHEDULE).sample((2, 3))
    for guidance in (torch.mean, lambda images: bowl(images.detach())):
        with pytest.raises(InvalidInputError, match="one loss for each, differentiable"):
            GuidedDDIMSampler(wavy, SCHEDULE).sample((2, 3), guidance=guidance)
    with pytest.raises(NumericalError, match="sampled image"):
        GuidedDDIMSampler(lambda x, t: x / 0, SCHEDULE, clip=False).sample((1, 3))
