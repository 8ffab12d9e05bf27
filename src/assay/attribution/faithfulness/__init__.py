"""Does an attribution mark what the network needs (diffroar)?"""

__all__: list[str] = []
