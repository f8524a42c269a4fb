"""The errors that users can put right: each message names the thing and its remedy."""


class AutogazeError(Exception):
    """Base of all of them; the command line shows its message in one line instead of a traceback."""

    #: exit status of the command line
    status = 1
