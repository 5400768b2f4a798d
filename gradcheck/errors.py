"""What the checker raises."""


class GradientError(AssertionError):
    """A gradient is wrong, has a wrong form, or could not be checked; one line says which and where."""


class OutOfDomain(Exception):
    """forward gave NaN or infinity, or raised, away from the point given."""


class Unproved(GradientError):
    """Nothing is smooth enough to say anything."""
