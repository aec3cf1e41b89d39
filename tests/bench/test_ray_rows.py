"""tests.bench.ray_rows: digests of bytes and names, medians and ratios."""

from pathlib import Path

from tests.bench.ray_rows import WAYS, compared, digest_of, table


def test_every_byte_and_every_name_is_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "frames/a").mkdir(parents=True)
    frame, rows = tmp_path / "frames/a/1.png", tmp_path / "raw.csv"
    frame.write_bytes(b"frame")
    rows.write_bytes(b"rows")
    digests = {digest_of(tmp_path, ("frames", "raw.csv"))}
    rows.write_bytes(b"Rows")
    digests.add(digest_of(tmp_path, ("frames", "raw.csv")))
    frame.rename(tmp_path / "frames/a/2.png")
    digests.add(digest_of(tmp_path, ("frames", "raw.csv")))
    assert len(digests) == 3


def test_ratios_are_of_medians() -> None:
    times = dict(zip(WAYS, ([10.0, 12.0, 90.0], [6.0, 3.0, 5.0], [24.0, 1.0, 30.0]), strict=True))
    runs = [
        {"way": way, "seconds": seconds, "cpu_s": 1.0, "peak_mib": 100.0, "digest": "same"}
        for way, rounds in times.items()
        for seconds in rounds
    ]
    found = compared(runs)
    assert found["same_bytes"]
    assert [way["ratio"] for way in found["ways"].values()] == [1.0, 5 / 12, 2.0]
    assert not compared([*runs, runs[0] | {"digest": "other"}])["same_bytes"]
    assert "24.0 s, 2.00 of sequential" in table({"stages": {"crop_faces": found}})[-1]
