"""Errors that a user can cause: one line, naming the field and the mend."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what and how to mend it.

    The command line prints the message without a traceback and exits with code 2.
    """


def require_choice(field: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a `value` that is not among `choices`, naming the nearest one, also by its initials (lr).

    Args:
        field: what the user was choosing, as the user knows it ("activation").
        value: what the user gave.
        choices: every value that is allowed.

    Raises:
        UserError: `value` is not one of `choices`.
    """
    choices = sorted(choices)
    if value in choices:
        return
    known = {choice.lower(): choice for choice in choices}
    known |= {"".join(word[:1] for word in choice.split("_")): choice for choice in choices if "_" in choice}
    near = difflib.get_close_matches(value.lower(), known, n=1)
    hint = f"did you mean {known[near[0]]!r}? " if near else ""
    raise UserError(f"unknown {field} {value!r}: {hint}choose from {', '.join(choices)}")
