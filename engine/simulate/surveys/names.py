"""Names that surveys make of positions."""


def field_name(ra: float, dec: float) -> str:
    """RAVE's and 6dF's names of fields: 0823m14 is RA 8h 23m, Dec -14."""
    minutes = int(ra * 4)
    return f"{minutes // 60:02d}{minutes % 60:02d}{'m' if dec < 0 else 'p'}{int(abs(dec)):02d}"


def apogee_id(ra: float, dec: float) -> str:
    """2MASS designation behind 2M: hhmmss and hundredths of a second, sign, ddmmss and tenths."""
    hundredths = int(ra * 24000)
    hours, rest = divmod(hundredths, 360_000)
    tenths = int(abs(dec) * 36000)
    degrees, below = divmod(tenths, 36_000)
    return (
        f"2M{hours:02d}{rest // 6000:02d}{rest % 6000:04d}"
        f"{'-' if dec < 0 else '+'}{degrees:02d}{below // 600:02d}{below % 600:03d}"
    )
