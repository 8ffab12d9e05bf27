"""Active and passive variables of variational autoencoders (vae-active-variables)."""

__all__: list[str] = []
