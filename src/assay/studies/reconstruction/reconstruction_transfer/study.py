"""Reconstructing Training Data From Real World Models Trained with Transfer Learning (Oz et al., 2024).

The paper attacks heads trained on embeddings of DINO-ViT, CLIP and others, of photographs of 224 x 224 pixels. Here the
encoders are those that Python packages carry: EfficientNet-Lite0 on CIFAR-10 resized to 224 x 224, and MiniLM on
sentences of the documentation of Python and scikit-learn. A head has one hidden layer of 500 units and is trained
with weight decay on 20 embeddings, centred and scaled; the attack is `KKTReconstructor` with its defaults.

A sample counts as recovered when a candidate has cosine above 0.75 or 0.9 with its centred embedding: without centring,
all cosines are high. What is selected, retrieved and inverted is chosen without the training set. Nulls that need no
search are random vectors in the span of the first layer, and the share of an embedding in that span.

Images are sought by their pixels, by a deep image prior, and by a linear map that public images teach, which stands for
the trained decoder that the paper gives CLIP. Samples, steps and searches were chosen on two other heads and another
image, where more weight decay, finer merging of units, a pyramid of resolutions and more smoothing were no better.
"""

from dataclasses import replace
from functools import partial

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.reconstruction.reconstruction_transfer import figures
from assay.studies.reconstruction.reconstruction_transfer.heads import HEADS, attack
from assay.studies.reconstruction.reconstruction_transfer.inversions import EMBEDDINGS, SEARCHES, decode_head, invert
from assay.studies.reconstruction.reconstruction_transfer.pools import POOLS, Pools, embed
from assay.studies.reconstruction.reconstruction_transfer.settings import Settings

NO_NUMBER = "abstract, states no number"
NO_PHOTOGRAPHS = "no package carries the weights of DINO-ViT or CLIP, and no set of photographs is at hand"
STAND_INS = "this scale runs on stand-ins for the encoders: a random convolution network, and random vectors"
LIKE = "share of the pool's images that are no more like the inverted image than its source is"
WEIGHTS = ("weights left by true embeddings", "weights left by candidates")

STUDY = Study(
    slug="reconstruction-transfer",
    paper=Paper(
        "Reconstructing Training Data From Real World Models Trained with Transfer Learning",
        "Oz, Yehudai, Vardi, Antebi, Irani, Haim",
        2024,
        arxiv="2407.15845",
    ),
    methods=(
        "reconstruction.KKTReconstructor",
        "reconstruction.ConsensusSelector",
        "reconstruction.invert_embedding",
        "reconstruction.retrieval_audit",
    ),
    claims={
        "C1": Claim(
            "Training images of models that work on high-resolution images can be recovered as images",
            paper="abstract, states no number (pictures of 224 x 224 pixels, no measure)",
        ),
        "C2": Claim("Embeddings of training images can be recovered from a head on a large frozen encoder", NO_NUMBER),
        "C3": Claim("Reconstruction works in the embedding space, so it is not bound to images", NO_NUMBER),
        "C4": Claim("Clustering tells the good among thousands of candidates without the training set", NO_NUMBER),
        "C5": Claim("Transfer learning on private data is a privacy risk", NO_NUMBER),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            stand_ins=True,
            source="fashion",
            images=60,
            sentences=80,
            n=10,
            width=60,
            steps=200,
            long_steps=250,
            n_restarts=3,
            max_iter=60,
            inversions=1,
            inversion_steps=10,
        ),
        "small": Settings(),
        "paper": Settings(seeds=10, images=1000, n=100, steps=50_000, long_steps=100_000, n_restarts=50, inversions=10),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack heads on images (C1, C2) and sentences (C3), select without the training set (C4), and look up (C5)."""
    settings = replace(settings, source=lab.data(settings.source))
    pools: Pools = dict(zip(POOLS, lab.grid(embed, settings, pool=POOLS), strict=True))
    attack_head = partial(attack, pools=pools)
    heads = lab.grid(attack_head, settings, name="heads", data=HEADS, seed=settings.seeds)
    kinds = heads.by("data")
    for claim, (data, found) in zip(("C2", "C3"), kinds.items(), strict=True):
        measure_recovery(lab, claim, settings, data, found)
        measure_selection(lab, settings, data, found)
        measure_risk(lab, data, found)
    what = f"heads on sentences: share of selected embeddings nearest to a training sentence among {settings.sentences}"
    bar = min(1, 10 * settings.n / settings.sentences)
    lab.measure("C3", kinds["sentences"]["retrieval: precision"], at_least=bar, what=what)
    measure_images(lab, settings, pools, kinds["images"])

    longer, few = replace(settings, steps=settings.long_steps), heads.factors["seed"][: settings.long_seeds]
    long = lab.grid(attack_head, longer, name="trained-for-longer", data=("images",), seed=few)
    cells = kinds["images"].cells[: len(few)] + long.cells
    show(lab, settings, heads, Grid({"steps": (settings.steps, longer.steps), "seed": few}, cells))
    rows = figures.retrieved_rows(pools["sentences"]["texts"], kinds["sentences"].cells[0])
    caption = "Sentences nearest to the ten best embeddings that were selected from the first head"
    lab.table("sentences", rows, caption=caption)


def measure_recovery(lab: Lab, claim: str, settings: Settings, data: str, found: Grid) -> None:
    """C2, C3: bars are the share of MNIST digits that is known to come back from networks of this kind and size."""
    if settings.stand_ins:
        lab.measure(claim, untested=STAND_INS, what=f"heads on {data}")
    n = settings.n
    what = f"heads on {data}: training embeddings, of {n}, with a candidate of cosine >"
    lab.measure(claim, found["candidates > 0.75"], at_least=14 / 30 * n, what=f"{what} 0.75")
    lab.measure(claim, found["candidates > 0.9"], at_least=4 / 30 * n, what=f"{what} 0.9")
    what = f"heads on {data}: held-out embeddings, of {n}, with a candidate of cosine > 0.75"
    lab.measure(claim, found["held out > 0.75"], at_most=2 / 30 * n, what=what)
    what = (
        f"heads on {data}: training embeddings, of {n}, with a random vector in the first layer's span of cosine > 0.75"
    )
    lab.measure(claim, found["random > 0.75"], at_most=2 / 30 * n, what=what)


def measure_selection(lab: Lab, settings: Settings, data: str, found: Grid) -> None:
    """C4: what is selected against candidates and clusters drawn blindly, and what of the pool it keeps."""
    where = f"heads on {data}"
    for others in ("candidates", "clusters"):
        gain = found["precision"] - found[f"precision of all {others}"]
        what = f"{where}: share of the selected with cosine > 0.75 to a training sample, less that of all {others}"
        lab.measure("C4", gain, at_least=0, what=what)
    kept = found["selected > 0.75"] / found["candidates > 0.75"].clip(min=1)
    what = f"{where}: share of the samples recovered by any candidate that the best {settings.n} selected recover"
    lab.measure("C4", kept, at_least=0.75, what=what)
    what = f"{where}: cosine of a cluster's mean with a training sample, less the median over the cluster's candidates"
    lab.measure("C4", found["denoised"], at_least=0, what=what)


def measure_risk(lab: Lab, data: str, found: Grid) -> None:
    """C5: what the selected embeddings say about who was in the training set."""
    what = f"heads on {data}: AUC of telling members from others by their best cosine with a selected embedding"
    lab.measure("C5", found["membership: AUC"], at_least=0.75, what=what)
    what = f"heads on {data}: members told at 1% false positives by their best cosine with a selected embedding"
    lab.measure("C5", found["membership: TPR at 1% FPR"], at_least=0.1, what=what)


def measure_images(lab: Lab, settings: Settings, pools: Pools, heads: Grid) -> None:
    """C1: whether what is found for a recovered embedding is like its training image, beside the true embeddings."""
    decoded = lab.grid(partial(decode_head, pools=pools), settings, name="decoded", after=heads)
    head = decoded.cells[0]
    invert_first = partial(invert, head=head, pools=pools)
    inverted = lab.grid(invert_first, settings, name="inverted", search=tuple(SEARCHES), embeddings=EMBEDDINGS)
    for search, found in inverted.at(embeddings="recovered").by("search").items():
        lab.measure("C1", found["share"], at_least=0.9, what=f"{search}, recovered embeddings: {LIKE}")
    what = f"linear map, recovered embeddings: {LIKE}, mean over the first {settings.n // 2} of each head"
    lab.measure("C1", decoded["recovered: share"], at_least=0.9, what=what)
    lab.measure("C1", untested=NO_PHOTOGRAPHS, what="encoders and photographs of the paper")
    caption = (
        "Training images that the embeddings selected from the first head are nearest to, with the cosine of the two "
        "embeddings, above the images that three ways make of these training images' embeddings, true and recovered"
    )
    lab.figure("inverted", figures.draw_inverted(settings.inversions, head, inverted), caption=caption)
    caption = f"Images sought for embeddings of the first head: the cosine that is reached, and {LIKE}"
    lab.table("inverted", figures.inversion_rows(inverted), caption=caption)
    columns = ("true: share", "recovered: share", "mirror image: cosine", "negative: cosine")
    caption = (
        f"Linear map, from true and recovered embeddings: {LIKE}; encoder: cosine of a training image's embedding with "
        "that of its mirror image and of its negative"
    )
    lab.table("decoded", decoded, columns=columns, caption=caption)


def show(lab: Lab, settings: Settings, heads: Grid, lengths: Grid) -> None:
    """Show all heads, heads on images that were trained for longer, and the selection by its threshold."""
    caption = "Training samples recovered from each head by the cosine of the best candidate, and what the nulls reach"
    lab.figure("counts", figures.draw_counts(settings.n, heads), caption=caption)
    columns = (*WEIGHTS, "precision", "retrieval: recall", "retrieval by span: precision", "retrieval by span: recall")
    lab.table("heads", heads, columns=(*columns, "membership by span: AUC"), caption="Heads: figures without a bar")
    columns = ("distinct units", *WEIGHTS, "candidates > 0.75", "candidates > 0.9")
    caption = "Heads on images by steps of training: more makes hidden units multiples of one another"
    lab.table("lengths", lengths, columns=columns, caption=caption)
    rows = figures.threshold_rows(settings.n, settings.thresholds, heads)
    lab.table("thresholds", rows, caption="Selection by its threshold, means over heads")
