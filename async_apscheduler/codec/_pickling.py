"""Pickles that only this project can have written.

Unpickling runs whatever the pickle says, so the signature is checked before a byte of it is read.
"""

from __future__ import annotations

import base64
import pickle
from typing import Any

from django.core.signing import BadSignature, Signer

from async_apscheduler.exceptions import MalformedValueError, TamperedValueError

SALT = "async_apscheduler.codec.pickle"


def pickled(value: Any) -> str:
    """Return `value` as a signed text. Raises whatever pickling it raises."""
    payload = base64.b64encode(pickle.dumps(value, protocol=5)).decode("ascii")
    return Signer(salt=SALT).sign(payload)


def unpickled(text: Any) -> Any:
    """Return the value of a signed text.

    The signature may have been made with SECRET_KEY or one of SECRET_KEY_FALLBACKS. Raises
    TamperedValueError without one, MalformedValueError if the value cannot be restored.
    """
    if not isinstance(text, str):
        raise MalformedValueError(f"A pickle must be a text, not {type(text).__name__}.")
    try:
        payload = Signer(salt=SALT).unsign(text)
    except (BadSignature, UnicodeError):
        raise TamperedValueError(
            "A stored pickle is not signed with this project's SECRET_KEY, so it was not loaded. "
            "If the key was changed, put the old one into SECRET_KEY_FALLBACKS; if not, find out "
            "who wrote the row."
        ) from None
    try:
        return pickle.loads(base64.b64decode(payload))
    except Exception as error:  # __setstate__ and the module of the class are the user's code
        raise MalformedValueError(
            f"A stored pickle cannot be loaded ({type(error).__name__}). Its class may have moved "
            "or changed; bring it back, or schedule the job anew."
        ) from error
