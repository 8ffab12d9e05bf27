"""Public callables without a row in the battery, each with its reason."""

EXEMPT = {
    "adversarial.search_architectures": "takes functions that build and reward; tried with known rewards in its test",
    "core.copy_network": "takes a network alone and returns one; tried on networks that deepcopy refuses in its test",
    "core.find_device": "takes a name; tried in its test",
    "core.require_inspected": "returns nothing: it refuses what `inspect_model`, which has a row, finds",
    "core.stays_in_unit_interval": "is given a network that was looked at; tried on sigmoids and scores in its test",
    "core.unwrapped": "takes a network alone and returns the one inside; tried on the wrappers in its test",
    "core.unwrapped_state": "takes a state dict alone and returns one; tried on the wrappers in its test",
    "nets.load_encoder": "reads weights from an installed package; tried where that is installed",
    "nets.load_pretrained": "reads weights from files; tried where these are",
    "nets.pretrained_names": "lists names that are written down in the file",
    "reconstruction.kkt.StationarityGap": "is given multipliers of its own class; held against autograd in its test",
    "reconstruction.kkt.dense_chain": "takes a network alone and answers None to most; tried in its test",
    "reconstruction.kkt.default_objective": "takes two numbers; tried by the searches of its test",
    "reconstruction.kkt.first_layer": "takes a network alone and returns a layer; tried in the test of dense heads",
    "reconstruction.kkt.from_first_layer": "takes a frozen network and a shape; tried in its test",
    "reconstruction.kkt.minimize_gap": "takes a gap and multipliers; tried by the estimators that call it",
    "reconstruction.kkt.plain_copy": "takes a network alone and returns one; tried on parametrised layers in its test",
    "reconstruction.kkt.start_multipliers": "returns multipliers of a class of its own; tried in its test",
    "reconstruction.kkt.write_in_basis": "takes a network and a basis of its inputs; tried by `compress_first_layer`",
    "nets.diffusion.UNetDenoiser": "wraps a network of diffusers; tried where that is installed",
}
