"""Causal graphs of a class: which units and edges carry its logit, found by interventions on weights.

Papers: causal-explanation.
"""

from assay.attribution.causal_paths.chain import LayerChain, layer_chain
from assay.attribution.causal_paths.effects import PathEffect, path_intervention_effect
from assay.attribution.causal_paths.graph import CausalGraph, random_graph
from assay.attribution.causal_paths.maps import causal_saliency
from assay.attribution.causal_paths.masking import GraphFaithfulness, edge_masks, graph_faithfulness, mask_model
from assay.attribution.causal_paths.removal import RemovalCurve, removal_curve
from assay.attribution.causal_paths.search import find_causal_graph
from assay.attribution.causal_paths.selection import CauseSelection, select_causes
from assay.attribution.causal_paths.stability import GraphStability, graph_stability, local_lipschitz

__all__ = [
    "CausalGraph",
    "CauseSelection",
    "GraphFaithfulness",
    "GraphStability",
    "LayerChain",
    "PathEffect",
    "RemovalCurve",
    "causal_saliency",
    "edge_masks",
    "find_causal_graph",
    "graph_faithfulness",
    "graph_stability",
    "layer_chain",
    "local_lipschitz",
    "mask_model",
    "path_intervention_effect",
    "random_graph",
    "removal_curve",
    "select_causes",
]
