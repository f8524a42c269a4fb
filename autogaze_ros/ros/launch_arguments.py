"""What the launch files share."""


def flag(name: str, value: str) -> bool:
    """A launch argument as a bool.

    Raises:
        ValueError: it is neither; the message names the argument.
    """
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{name}:={value} is neither true nor false")
    return value.lower() in ("true", "1")
