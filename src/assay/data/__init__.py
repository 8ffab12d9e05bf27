"""Data sets: embedded ones, local copies of standard ones, and the user's files."""

from assay.data.archives import load_npz
from assay.data.dataset import Dataset
from assay.data.folders import load_image_folder
from assay.data.registry import available, load, names
from assay.data.views import balanced_subset, odd_even

__all__ = ["Dataset", "available", "balanced_subset", "load", "load_image_folder", "load_npz", "names", "odd_even"]
