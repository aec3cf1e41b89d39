"""Settings for all tests."""

from hypothesis import settings

# A busy machine makes single examples slow; that is no fault of the code.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")
