"""Networks that are no `nn.Module` with one tensor of outputs, brought to one."""

from assay.audit.foreign.estimators import Estimator, is_estimator
from assay.audit.foreign.hugging_face import PretrainedClassifier, is_pretrained, load_pretrained
from assay.audit.foreign.outputs import OutputSelection, Selector, select_outputs, with_logarithm
from assay.audit.foreign.precision import widened
from assay.audit.foreign.torchscript import ScriptedNetwork

__all__ = [
    "Estimator",
    "OutputSelection",
    "PretrainedClassifier",
    "ScriptedNetwork",
    "Selector",
    "is_estimator",
    "is_pretrained",
    "load_pretrained",
    "select_outputs",
    "widened",
    "with_logarithm",
]
