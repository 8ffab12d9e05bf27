"""Similarity of the representations of two networks, layer by layer."""

__all__: list[str] = []
