"""Exceptions that this project raises on purpose.

A message names the file, key or row, the value seen and what is expected. Several faults of one
input are reported together, one per line.
"""


class PipelineError(Exception):
    """Base of all errors that a user can cause and fix; `run_stage` prints no traceback for it."""


class ParamsError(PipelineError, ValueError):
    """params.yaml is malformed, or a value is out of range."""


class ManifestError(PipelineError, ValueError):
    """A CSV manifest or an input folder has unusable rows or files."""


class DecodeError(PipelineError, OSError):
    """An image or a video cannot be decoded."""


class UnknownFormatError(DecodeError):
    """The content is not in a known image or video format."""


class TooLargeError(DecodeError):
    """An image or a video exceeds a limit on pixels, duration or count."""


class DetectorError(PipelineError, RuntimeError):
    """A face detector cannot be loaded or is unknown."""


class PackageError(PipelineError, RuntimeError):
    """A pinned package cannot be fetched, or its content differs from the pinned digest."""


class SplitError(PipelineError, ValueError):
    """The available groups cannot be split as requested."""


class LeakError(PipelineError, ValueError):
    """Two splits have a person, a video or nearly the same image in common."""


class SkipLimitError(PipelineError, RuntimeError):
    """More samples were skipped than the stage tolerates."""


class WeightsError(PipelineError, RuntimeError):
    """Pretrained weights or a checkpoint cannot be loaded, or do not fit the model."""


class TrainingError(PipelineError, RuntimeError):
    """Training diverged."""


class ResumeError(PipelineError, RuntimeError):
    """A saved training state belongs to another run."""


class WorkerDiedError(PipelineError, RuntimeError):
    """A worker process was killed, most likely by the system because memory ran out."""


class InstallationError(PipelineError, RuntimeError):
    """The installed packages are incompatible with each other."""


class BundleError(PipelineError, RuntimeError):
    """An exported bundle is incomplete or altered, or does not reproduce its golden outputs."""


class SettingsError(PipelineError, ValueError):
    """An environment variable of the service has an invalid value."""
