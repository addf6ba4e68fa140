"""The exercises of lessons 10 and 11: solutions, checks against torch and SciPy, and the mistakes worth naming."""

from ._adam import adam
from ._adamw import adamw
from ._interval import interval
from ._mended import mended
from ._momentum import momentum
from ._rmsprop import rmsprop
from ._schedule import schedule
from ._stability import stability
from ._valley import valley

ALL = (momentum, rmsprop, adam, adamw, stability, schedule, valley, interval, mended)
