"""What work costs at a scale that was never tried, reckoned from what was measured here."""

from dataclasses import dataclass
from functools import cached_property

from tests.scale.assumptions import HOUR_S, Assumptions
from tests.scale.measured import Measured
from tests.scale.rows import Kind, Row, assumed, computed, measured

MILLION = 1_000_000
GB = 1e9
MACHINES = (1, 10, 100, 1000)
LONGEST = 3
# By split_groups, pack_zarr and (most rows) evaluate.
MANIFEST_READINGS = 3


@dataclass(frozen=True)
class MachineRow:
    """Hours of each part of the preparation of all videos. elapsed_h: one after the other.

    longest: the parts that take most, the longest first.
    """

    machines: int
    hours: dict[str, float]
    elapsed_h: float
    longest: tuple[str, ...]
    kind: Kind = "assumed"


@dataclass(frozen=True)
class Plan:
    """Measured numbers and assumptions, and what follows from them."""

    found: Measured
    given: Assumptions

    def rows(self) -> list[Row]:
        return [
            *self.judging(),
            *self.storage(),
            *self.preparation(),
            *self.bookkeeping(),
            *self.training(),
        ]

    def judging(self) -> list[Row]:
        """A million pictures and 1,000 hours of video."""
        found, given = self.found, self.given
        here, on_gpu = f"{found.cores} cores", f"a GPU as {given.gpu_cores:g} cores"
        pictures_h = MILLION / found.pictures_s / HOUR_S * found.cores
        video_h = 1000 / found.video_s_s * found.cores
        network = found.pictures_s / found.network_s
        detection = found.small["picture"]["detect_of_verdict"]
        reading = found.small["picture"]["decode_of_verdict"]
        core_usd, gpu_usd = given.core_hour_usd, given.gpu_hour_usd
        gpu_factor = gpu_usd / given.gpu_cores
        left = "1 / share that stays on the cores"
        pictures_how = f"10^6 / pictures a second x cores = {pictures_h:.1f} core hours"
        video_how = f"1,000 h / s a second x cores = {video_h:.0f} core hours"
        return [
            measured("pictures judged", found.pictures_s, "a second", here),
            computed("a million pictures", pictures_h * core_usd, "USD", pictures_how),
            assumed("a million pictures on a GPU", pictures_h * gpu_factor, "USD", on_gpu),
            measured("720p video judged", found.video_s_s, "s a second", here),
            computed("1,000 hours of video", video_h * core_usd, "USD", video_how),
            assumed("1,000 hours of video on a GPU", video_h * gpu_factor, "USD", on_gpu),
            computed(
                "cores that a GPU must replace to pay",
                gpu_usd / core_usd,
                "cores",
                "price of a GPU hour / of a core hour",
            ),
            measured("of a picture's time: finding faces", 100 * detection, "%", here),
            measured("of a picture's time: reading the JPEG", 100 * reading, "%", here),
            computed(
                "of a picture's time: the network", 100 * network, "%", "pictures / crops a second"
            ),
            computed(
                "with a GPU for the network, at most", 1 / (1 - network), "times as fast", left
            ),
            computed(
                "with a GPU for faces and network, at most",
                1 / (1 - network - detection),
                "times as fast",
                left,
            ),
        ]

    def storage(self) -> list[Row]:
        """What a million crops take, in an object store."""
        files, given = self.found.small["storage"], self.given
        frames = MILLION / self.crops_per_face
        zarr_gb = files["zarr_bytes_per_crop"] * MILLION / GB
        png_gb = files["png_bytes_per_crop"] * MILLION / GB
        frames_gb = frames * self.found.small["preparation"]["frame_bytes"] / GB
        videos_gb = frames / self.frames_per_video * self.video_bytes / GB
        all_gb = zarr_gb + png_gb + frames_gb + videos_gb
        objects = frames * files["frame_files"] + MILLION * files["png_files_per_crop"]
        put_usd = objects / 1000 * given.thousand_puts_usd
        return [
            computed(
                "a million crops in Zarr", zarr_gb, "GB", "sample's bytes a crop, with contexts"
            ),
            computed("the same as PNG files", png_gb, "GB", "sample's bytes a crop, with contexts"),
            assumed(
                "their frames, 720p PNG", frames_gb, "GB", "bytes of a frame of the clip x frames"
            ),
            assumed("their videos", videos_gb, "GB", f"{given.video_mbit_s:g} Mbit/s"),
            assumed("all four for a month", all_gb * given.gb_month_usd, "USD", "GB x price"),
            computed("their frames and crops as files", objects, "files", "sample's files a crop"),
            computed("uploading these once", put_usd, "USD", "PUT requests x price"),
            computed("listing these once", objects / 1000, "requests", "1,000 names a request"),
        ]

    def preparation(self) -> list[Row]:
        """Videos to crops: extract_frames and crop_faces."""
        given = self.given
        videos, extract_s, crop_s = given.videos, self.extract_core_s, self.crop_core_s
        hours = videos * (extract_s + crop_s) / HOUR_S
        looked_at = videos * self.frames_per_video * given.looked_at_frac
        looks = f"{given.looked_at_frac:.0%} of the faces, {given.look_s:g} s each"
        return [
            assumed(
                "a video to frames", extract_s, "core s", "core s of a second of video x length"
            ),
            assumed("its frames to crops", crop_s, "core s", "core s of a frame x frames"),
            assumed(f"{videos:,.0f} videos to crops", hours, "core hours", "both x videos"),
            assumed("cost of these", hours * given.core_hour_usd, "USD", "core hours x price"),
            assumed("looking at crops", looked_at * given.look_s / HOUR_S, "person hours", looks),
        ]

    def bookkeeping(self) -> list[Row]:
        """What one process does alone: DVC, manifests, packing."""
        dvc, manifest = self.found.small["dvc"], self.found.small["manifest"]
        reading_s = MILLION * manifest["read_s_per_row"]
        row_bytes = manifest["peak_bytes_per_row"]
        table_gb = MILLION * manifest["table_bytes_per_row"] / GB
        packing_h = MILLION * self.found.small["pack"]["s_per_crop"] / HOUR_S
        fitting = self.given.machine_gb * GB / row_bytes / MILLION
        crops = self.given.videos * self.frames_per_video * self.crops_per_face
        videos = f"the manifest of {self.given.videos:,.0f} videos, in memory"
        in_memory = f"{self.given.machine_gb:g} GB / bytes a row"
        return [
            measured("`dvc add`", 1000 * dvc["add_s_per_file"], "s for 1,000 files", "crops"),
            measured(
                "`dvc status`", 1000 * dvc["status_s_per_file"], "s for 1,000 files", "unchanged"
            ),
            computed("reading a manifest of a million crops", reading_s, "s", "s a row x rows"),
            computed("its memory while read", MILLION * row_bytes / GB, "GB", "bytes a row x rows"),
            computed("its table in training", table_gb, "GB", "bytes a row x rows"),
            assumed(videos, crops * row_bytes / GB, "GB", "bytes a row x crops"),
            assumed("largest manifest of a machine", fitting, "million crops", in_memory),
            computed("packing a million crops", packing_h, "core hours", "s a crop x crops"),
            *(
                computed(
                    f"`{stage}`, each further 1,000 items",
                    1000 * _marginal_s(runs),
                    "core s",
                    "growth.json, from the second largest size to the largest",
                )
                for stage, runs in self.found.growth.items()
            ),
        ]

    def training(self) -> list[Row]:
        """ConvNeXt-Tiny, as make production trains it."""
        found, given = self.found, self.given
        hours = given.epoch_crops * given.epochs / found.step_s / HOUR_S * found.cores
        gpu_h = hours / given.gpu_training_cores
        gpu_s = found.step_s / found.cores * given.gpu_training_cores
        here, on_gpu = f"{found.cores} cores", f"a GPU as {given.gpu_training_cores:g} cores"
        run = f"{given.epochs:g} epochs of {given.epoch_crops:,.0f} crops"
        crops = "crops / images a second x cores"
        return [
            measured("training step", found.step_s, "images/s", f"{here}, ConvNeXt-Tiny"),
            measured("training input, augmented", found.loader_s, "images/s", here),
            computed(run, hours, "core hours", crops),
            computed("cost of the run", hours * given.core_hour_usd, "USD", "core hours x price"),
            assumed("the run on a GPU", gpu_h, "hours", on_gpu),
            assumed("cost of the run on a GPU", gpu_h * given.gpu_hour_usd, "USD", "hours x price"),
            assumed(
                "cores that feed such a GPU",
                gpu_s / (found.loader_s / found.cores),
                "cores",
                f"{gpu_s:.0f} images/s / input of a core",
            ),
        ]

    def machine_rows(self) -> list[MachineRow]:
        return [self.machine_row(machines) for machines in MACHINES]

    def machine_row(self, machines: int) -> MachineRow:
        """Frames and crops are divided by the machines; the rest is one process or one store."""
        given, small = self.given, self.found.small
        stored = small["storage"]
        cores = machines * given.machine_cores
        frames = given.videos * self.frames_per_video
        crops = frames * self.crops_per_face
        files = frames * stored["frame_files"] + crops * stored["png_files_per_crop"]
        moved = given.videos * self.video_bytes
        moved += frames * small["preparation"]["frame_bytes"]
        moved += crops * stored["png_bytes_per_crop"]
        sent_s = moved / (machines * given.machine_gbit_s * 1e9 / 8)
        seconds = {
            "extract": given.videos * self.extract_core_s / cores,
            "crop": given.videos * self.crop_core_s / cores,
            "store": max(sent_s, files / given.puts_s),
            "dvc": files * small["dvc"]["add_s_per_file"],
            "manifests": crops * small["manifest"]["read_s_per_row"] * MANIFEST_READINGS,
            "packing": crops * small["pack"]["s_per_crop"],
        }
        hours = {name: value / HOUR_S for name, value in seconds.items()}
        longest = sorted(hours, key=hours.__getitem__, reverse=True)[:LONGEST]
        return MachineRow(machines, hours, sum(hours.values()), tuple(longest))

    @cached_property
    def crops_per_face(self) -> float:
        return float(self.found.small["storage"]["crops_per_face"])

    @cached_property
    def frames_per_video(self) -> float:
        return float(self.given.video_s * self.found.small["preparation"]["frames_per_s"])

    @cached_property
    def video_bytes(self) -> float:
        return self.given.video_s * self.given.video_mbit_s * 1e6 / 8

    @cached_property
    def extract_core_s(self) -> float:
        """Of a video."""
        return float(self.given.video_s * self.found.small["preparation"]["extract_s_per_s"])

    @cached_property
    def crop_core_s(self) -> float:
        """Of a video."""
        return float(self.frames_per_video * self.found.small["preparation"]["crop_s_per_frame"])


def _marginal_s(runs: dict[str, list[float]]) -> float:
    """Processor seconds of one more item at the largest sizes that growth.json has."""
    (fewer, more), (less_s, more_s) = runs["items"][-2:], runs["seconds"][-2:]
    return (more_s - less_s) / (more - fewer)
