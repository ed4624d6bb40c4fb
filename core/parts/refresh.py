"""The steps at which square and thin states are computed anew: a first one, and every so many after
it. A rule counts them in its carry ``since_refresh``."""


def refresh_due(xp, first, carry, every):
    """Return 1 at the step that is ``first``, and ``every`` so many steps after the last time, else
    0."""
    overdue = carry.since_refresh + 1 >= every
    return xp.where(first, 1, xp.where(overdue, 1, 0))


def after_refresh(xp, refresh, carry):
    """Return the carry after a step that is one of these if ``refresh`` is not 0."""
    return dict(since_refresh=xp.where(refresh > 0, 0, carry.since_refresh + 1))
