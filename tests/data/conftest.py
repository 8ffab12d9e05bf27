import os

import pytest


@pytest.fixture
def data_root():
    root = os.environ.get("ASSAY_DATA")
    if not root:
        pytest.skip("needs ASSAY_DATA, the folder of the standard image sets")
    return root
