"""The exercises of lessons 40, 41 and 42: solutions, checks against torch, and the mistakes worth naming."""

from ._calibration import calibration
from ._folding import folding
from ._integer import integer
from ._learned_step import learned_step
from ._pairs import pairs
from ._per_channel import per_channel
from ._rounding import rounding
from ._scale_and_zero import scale_and_zero
from ._straight_through import straight_through
from ._symmetric import symmetric

ALL = (
    scale_and_zero,
    rounding,
    symmetric,
    per_channel,
    integer,
    calibration,
    folding,
    straight_through,
    learned_step,
    pairs,
)
