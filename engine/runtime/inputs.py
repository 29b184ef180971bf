"""What was prepared with the read, as one value of an Arrow column: the bytes of its arrays."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from engine.types import Extras, Inputs, Normalised

OF_SPECTRA = tuple(Normalised.__slots__)
KIND = pa.struct({"about": pa.string(), "arrays": pa.list_(pa.large_binary())})


def without_arrays(spectra: pa.Table) -> pa.Table:
    """Spectra without their pixels, which nobody needs once inputs are there."""
    kinds = zip(spectra.column_names, spectra.schema.types, strict=True)
    return spectra.select([name for name, kind in kinds if not isinstance(kind, pa.FixedShapeTensorType)])


def pack_inputs(inputs: Inputs | None) -> pa.Array:
    """A column of one value; NULL for none."""
    if inputs is None:
        return pa.nulls(1, KIND)
    arrays = {"x_NI": inputs.x_NI, "usable_N": inputs.usable_N}
    arrays |= {name: getattr(inputs.spectra, name) for name in OF_SPECTRA}
    arrays |= {"value_NE": inputs.extras.value_NE, "saturated_N": inputs.extras.saturated_N}
    about = {
        "extras": inputs.extras.names,
        "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
    }
    buffers = [pa.py_buffer(np.ascontiguousarray(array)) for array in arrays.values()]
    offsets = pa.array(np.cumsum([0, *(buffer.size for buffer in buffers)]), pa.int64())
    content = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(buffers), [None, offsets.buffers()[1], pa.py_buffer(b"".join(buffers))]
    )
    nested = pa.ListArray.from_arrays(pa.array([0, len(buffers)], pa.int32()), content)
    return pa.StructArray.from_arrays([pa.array([json.dumps(about)]), nested], fields=list(KIND))


def unpack_inputs(packed: pa.StructArray) -> Inputs | None:
    """The inputs again, as views of the block's memory."""
    if packed.null_count:
        return None
    about = json.loads(packed.field("about")[0].as_py())
    arrays = {
        name: np.frombuffer(value.as_buffer(), dtype).reshape(shape)
        for value, (name, dtype, shape) in zip(packed.field("arrays").flatten(), about["arrays"], strict=True)
    }
    return _inputs(arrays, tuple(about["extras"]))


def _inputs(arrays: dict[str, Any], names: tuple[str, ...]) -> Inputs:
    return Inputs(
        x_NI=arrays["x_NI"],
        usable_N=arrays["usable_N"],
        spectra=Normalised(**{name: arrays[name] for name in OF_SPECTRA}),
        extras=Extras(names=names, value_NE=arrays["value_NE"], saturated_N=arrays["saturated_N"]),
    )
