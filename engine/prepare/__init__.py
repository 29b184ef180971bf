"""Arrow -> normalised arrays: small pure functions on (flux_NP, ivar_NP), where ivar 0 means missing."""
