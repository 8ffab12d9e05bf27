"""Saliency maps from the gradients of a layer's own parameters (normgrad)."""

__all__: list[str] = []
