"""What the layers of a network encode, and how alike two networks are.

- `cca`: canonical correlations by stochastic gradients (stochastic-cca).
- `diffusion_entropy`: entropy and information of representations by diffusion (diffusion-spectral-entropy).
- `information_plane`: mutual information of layers by estimators that adapt (adaptive-mutual-information).
- `latent_variables`: active and passive variables of variational autoencoders (vae-active-variables).
- `matching`: units of one network in another (convergent-learning).
- `similarity`: similarity of the representations of two networks, layer by layer.
"""

from assay.representation.cca import (
    DeepCCA,
    EckartYoungLoss,
    StochasticCCA,
    StochasticPLS,
    eckart_young_loss,
)

__all__ = ["DeepCCA", "EckartYoungLoss", "StochasticCCA", "StochasticPLS", "eckart_young_loss"]
