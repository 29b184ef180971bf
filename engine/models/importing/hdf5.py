"""HDF5 files of unknown origin: arrays and text, and no way out of the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from engine.errors import BundleError
from engine.models.importing.weights import as_floats, check_shape
from engine.types import Floats

# gzip, shuffle, fletcher32. Others could make the library look for plugins on this machine.
KNOWN_FILTERS = {1, 2, 3}
ZIP = b"PK\x03\x04"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The open file; BundleError where it is no HDF5 file, or turns out to be broken while it is read."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP)) == ZIP:
                raise BundleError(
                    f"{path}: a zip archive, not HDF5. Keras 3 writes .keras archives: "
                    'save the model as HDF5 there, with model.save("model.h5")'
                )
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read as HDF5: {error}") from error


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every array that lies in the file itself, by its path; links to elsewhere are not followed."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def text(file: h5py.File, name: str) -> str | None:
    """A text attribute of the file; None where there is none."""
    value = file.attrs.get(name)
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else None


def floats(where: str, dataset: h5py.Dataset, shape: tuple[int, ...]) -> Floats:
    """An array of this shape; BundleError for another shape or kind, and for bytes that lie elsewhere."""
    check_shape(where, dataset.shape, shape)
    if dataset.dtype.kind != "f":
        raise BundleError(f"{where} is {dataset.dtype}, expected floating-point numbers")
    layout = dataset.id.get_create_plist()
    filters = {layout.get_filter(i)[0] for i in range(layout.get_nfilters())}
    if dataset.external or dataset.is_virtual or not filters <= KNOWN_FILTERS:
        raise BundleError(f"{where} is stored outside the file, or packed by a plugin: save the model anew")
    return as_floats(where, np.asarray(dataset[()]))


def of_layer(file: str, layer: str, name: str, arrays: Mapping[str, h5py.Dataset]) -> h5py.Dataset:
    """The one array `name` of a layer in `arrays`; BundleError where it is missing or there twice."""
    found = [
        array
        for path, array in arrays.items()
        if path.startswith(f"model_weights/{layer}/") and path.rpartition("/")[2].removesuffix(":0") == name
    ]
    if len(found) != 1:
        raise BundleError(f"{file}: layer {layer} has {len(found)} arrays called {name}, expected one")
    return found[0]
