"""Every error this project raises on purpose.

A message names the file, key or row, the value seen and what would be right. Several faults of one
input are reported together, one a line.
"""


class PipelineError(Exception):
    """Base of all errors a user can cause and mend; `run_stage` prints it without a traceback."""


class ParamsError(PipelineError, ValueError):
    """params.yaml is malformed, or a value in it is out of its range."""


class ManifestError(PipelineError, ValueError):
    """A CSV manifest or an input folder has rows or files that cannot be used."""


class DecodeError(PipelineError, OSError):
    """An image or a video cannot be decoded."""


class UnknownFormatError(DecodeError):
    """The content is of no known image or video format."""


class TooLargeError(DecodeError):
    """An image or a video is beyond a limit on pixels, duration or count."""


class DetectorError(PipelineError, RuntimeError):
    """A face detector cannot be loaded or is unknown."""


class PackageError(PipelineError, RuntimeError):
    """A pinned package cannot be fetched, or its content is not what was pinned."""


class SplitError(PipelineError, ValueError):
    """The groups at hand cannot be split as asked."""


class SkipLimitError(PipelineError, RuntimeError):
    """More samples were skipped than the stage tolerates."""


class WeightsError(PipelineError, RuntimeError):
    """Pretrained weights or a checkpoint cannot be had, or do not fit the model."""


class TrainingError(PipelineError, RuntimeError):
    """Training diverged."""


class ResumeError(PipelineError, RuntimeError):
    """A saved training state belongs to another run."""


class InstallationError(PipelineError, RuntimeError):
    """The installed packages do not fit together."""


class BundleError(PipelineError, RuntimeError):
    """An exported bundle is incomplete, altered or does not reproduce its golden outputs."""


class SettingsError(PipelineError, ValueError):
    """An environment variable of the service has a value that makes no sense."""
