"""serve.settings: strict parsing of the environment, and .env.example is up to date."""

import os
from pathlib import Path

import pytest
from dotenv import dotenv_values

from pipeline.runtime.errors import SettingsError
from serve.settings import PREFIX, Settings, load_settings
from tests.support.imports import ROOT

# Read by pipeline.runtime.packages and pipeline.faces, not by the service itself.
OF_THE_PIPELINE = {"INSWAPPER_CACHE", "INSWAPPER_PACKS"}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.model_path is None
    assert settings.face_detector == "insightface"
    assert settings.face_pack == "retinaface_mnet025"


def test_environment_wins_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("INSWAPPER_THRESHOLD=0.7\nINSWAPPER_MAX_FACES=3\n")
    monkeypatch.setenv("INSWAPPER_THRESHOLD", "0.9")
    settings = load_settings()
    assert (settings.threshold, settings.max_faces) == (0.9, 3)


def test_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_THRESHOLD", "")
    assert load_settings().threshold is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INSWAPPER_THRESHOLD", "1.5"),
        ("INSWAPPER_THRESHOLD", "nan"),
        ("INSWAPPER_THRESHOLD", "0"),
        ("INSWAPPER_FACE_DETECTOR", "eyes"),
        ("INSWAPPER_MAX_FACES", "0"),
        ("INSWAPPER_MAX_IMAGE_PIXELS", "many"),
        ("INSWAPPER_MAX_VIDEO_S", "-1"),
        ("INSWAPPER_THREADS", "2.5"),
        ("INSWAPPER_VIDEO_MEMORY_MB", "100"),
        ("INSWAPPER_VIDEO_CPU_S", "0"),
        ("INSWAPPER_MAX_JOBS", "0"),
        ("INSWAPPER_PRECISION", "fp16"),
        ("INSWAPPER_RATE_PER_MINUTE", "0"),
        ("INSWAPPER_RATE_PER_MINUTE", "often"),
        ("INSWAPPER_DRAIN_S", "-1"),
        ("INSWAPPER_DRAIN_S", "inf"),
        ("INSWAPPER_LOG_FORMAT", "xml"),
    ],
)
def test_nonsense_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"{variable}: .*{value}"):
        load_settings()


def test_a_short_admin_token_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_ADMIN_TOKEN", "fifteen-letters")
    with pytest.raises(SettingsError, match=r"INSWAPPER_ADMIN_TOKEN: .*at least 16") as caught:
        load_settings()
    assert "fifteen-letters" not in str(caught.value)
    monkeypatch.setenv("INSWAPPER_ADMIN_TOKEN", "sixteen-letters!")
    token = load_settings().admin_token
    assert token is not None
    assert "sixteen-letters!" not in repr(token)


def test_all_faults_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_THRESHOLD", "x")
    monkeypatch.setenv("INSWAPPER_THREADS", "y")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_the_example_documents_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = dotenv_values(ROOT / ".env.example")
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(example) == known | OF_THE_PIPELINE
    defaults = load_settings()
    for name in known:
        monkeypatch.setenv(name, example[name] or "")
    assert load_settings() == defaults
