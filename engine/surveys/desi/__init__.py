"""DESI: coadded or single spectra of the three cameras, by HEALPix pixel or by tile."""

from engine.surveys.desi.layout import ARMS, IMAGES, KEYS
from engine.surveys.desi.reader import list_shards, read, read_ids
from engine.surveys.survey import Place, Survey

DESI = Survey(
    name="desi",
    title="Dark Energy Spectroscopic Instrument",
    reference="https://data.desi.lbl.gov/doc/",
    keys=KEYS,
    files=("coadd-main-dark-10378.fits", "spectra-main-dark-10378.fits"),
    arms=ARMS,
    star_key="targetid",
    frame="observed",
    medium="vacuum",
    place=Place(
        hdus=("FIBERMAP", *dict.fromkeys(hdu for hdu, _ in IMAGES.values())), remark="this row of each"
    ),
    follows=frozenset({"rv"}),
    fills=frozenset({"phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "parallax", "ebv"}),
    list_shards=list_shards,
    read=read,
    read_ids=read_ids,
)
