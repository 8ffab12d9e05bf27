"""Which inputs, and which units, drive a prediction, and whether an explanation can be trusted.

- `causal_paths`: which units and edges carry a class (causal-explanation).
- `disparities`: are explanations as faithful for one group as for another (explanation-disparities)?
- `faithfulness`: does an attribution mark what the network needs (diffroar)?
- `saliency`: saliency maps from the gradients of a layer's own parameters (normgrad).
"""

from assay.attribution.saliency import NormGrad, class_sensitivity, combine_saliency, make_localization

__all__ = ["NormGrad", "class_sensitivity", "combine_saliency", "make_localization"]
