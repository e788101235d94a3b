from pathlib import Path

from sqdr.bundle import BUNDLE_FILES, MANIFEST, Bundle
from sqdr.coding import encode_images
from sqdr.train.slayer_backend import SlayerBackend


def test_bundle_reproduces_the_trained_models_spikes(bundle_path: Path) -> None:
    with Bundle.open(bundle_path) as bundle, SlayerBackend.from_bundle(bundle) as encoder:
        golden = bundle.golden()
        trains = encoder.spike_trains(encode_images(golden.images, bundle.manifest.model.coding))
        assert golden.spike_trains.any()
        assert (trains != golden.spike_trains).sum() == 0
        assert sorted(path.name for path in bundle_path.iterdir()) == sorted((*BUNDLE_FILES, MANIFEST))
