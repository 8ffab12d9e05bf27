"""Mutual information of layers by estimators that adapt (adaptive-mutual-information)."""

__all__: list[str] = []
