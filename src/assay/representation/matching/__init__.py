"""Units of one network in another (convergent-learning)."""

__all__: list[str] = []
