"""What the pictures of both lessons share."""

# metric -> (axis title, factor, unit in sentences)
METRICS = {"error": ("validation error (%)", 100, " %"), "loss": ("validation loss (nats)", 1, " nats")}


def metric_of(metric: str) -> tuple[str, float, str]:
    """(axis title, factor, unit) of a score; a ValueError lists the valid names."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    return METRICS[metric]


def log_axis(space: dict, name: str) -> dict:
    """Arguments of `update_xaxes` for an axis of the space."""
    log = getattr(space[name], "log", False)
    return dict(type="log", exponentformat="power", dtick=1) if log else {}
