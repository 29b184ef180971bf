"""What libraries raise over broken bytes: none has one exception for all of that."""

import struct
import zlib
from xml.parsers.expat import ExpatError

import pyarrow as pa
from astropy.io.fits import VerifyError
from astropy.utils.exceptions import AstropyWarning

BROKEN_BYTES = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    MemoryError,
    EOFError,
    SyntaxError,
    struct.error,
    zlib.error,
    ExpatError,
    VerifyError,
    # Of VOTables, astropy raises some of its warnings.
    AstropyWarning,
    pa.ArrowException,
)
