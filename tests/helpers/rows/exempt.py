"""Public callables without a row in the battery, each with its reason."""

EXEMPT = {
    "adversarial.search_architectures": "takes functions that build and reward; tried with known rewards in its test",
    "core.copy_network": "takes a network alone and returns one; tried on networks that deepcopy refuses in its test",
    "core.find_device": "takes a name; tried in its test",
    "core.require_inspected": "returns nothing: it refuses what `inspect_model`, which has a row, finds",
    "core.unwrapped": "takes a network alone and returns the one inside; tried on the wrappers in its test",
    "nets.load_encoder": "reads weights from an installed package; tried where that is installed",
    "nets.load_pretrained": "reads weights from files; tried where these are",
    "nets.pretrained_names": "lists names that are written down in the file",
    "nets.diffusion.UNetDenoiser": "wraps a network of diffusers; tried where that is installed",
}
