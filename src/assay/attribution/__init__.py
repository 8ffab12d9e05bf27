"""Attribution: the inputs and units that drive a prediction, and whether an explanation can be trusted.

- `causal_paths`: which units and edges carry a class (causal-explanation).
- `disparities`: are explanations as faithful for one group as for another (explanation-disparities)?
- `faithfulness`: does an attribution mark what the network needs (diffroar)?
- `saliency`: saliency maps from the gradients of a layer's own parameters (normgrad).
"""

from assay.attribution.causal_paths import CausalGraph, causal_saliency, find_causal_graph, graph_faithfulness
from assay.attribution.disparities import LocalSurrogate, bootstrap_gap, explanation_disparity
from assay.attribution.faithfulness import DiffROARResult, block_images, diffroar, input_gradient_attribution, leakage
from assay.attribution.saliency import NormGrad, class_sensitivity, combine_saliency, make_localization

__all__ = [
    "CausalGraph",
    "DiffROARResult",
    "LocalSurrogate",
    "NormGrad",
    "block_images",
    "bootstrap_gap",
    "causal_saliency",
    "class_sensitivity",
    "combine_saliency",
    "diffroar",
    "explanation_disparity",
    "find_causal_graph",
    "graph_faithfulness",
    "input_gradient_attribution",
    "leakage",
    "make_localization",
]
