"""Which units and edges carry a class (causal-explanation)."""

__all__: list[str] = []
