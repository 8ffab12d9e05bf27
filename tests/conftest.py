"""What holds for every test."""

from hypothesis import settings

# An example may take as long as it takes: on a busy machine a limit tells nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
