"""Inputs and units that drive a prediction, and whether an explanation can be trusted.

- `causal_paths`: which units and edges carry a class (causal-explanation).
- `disparities`: are explanations as faithful for one group as for another (explanation-disparities)?
- `faithfulness`: does an attribution mark what the network needs (diffroar)?
- `saliency`: saliency maps from the gradients of a layer's own parameters (normgrad).
"""

from assay.attribution.disparities import LocalSurrogate, bootstrap_gap, explanation_disparity

__all__ = ["LocalSurrogate", "bootstrap_gap", "explanation_disparity"]
