"""The libraries of the extra `mix`, asked for before a module that imports them is."""

from assay.errors import MissingExtraError


def require(what: str) -> None:
    """Asks that scikit-learn, scipy and lightgbm are there.

    Args:
        what: what needs them, as the message begins ("Regressor `lightgbm`").

    Raises:
        MissingExtraError: one of them is not, or cannot be loaded.
    """
    try:
        import lightgbm  # noqa: F401
        import scipy  # noqa: F401
        import sklearn  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: lightgbm is there and the system's libgomp is not
        raise MissingExtraError(f"{what} needs scikit-learn, scipy and lightgbm: pip install 'assay[mix]'.") from error
