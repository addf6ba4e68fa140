"""The exercises of lessons 30 and 31: solutions, checks against torch and SciPy, and the mistakes worth naming."""

from ._again import again
from ._batch_norm import batch_norm
from ._csr import csr
from ._cubic import schedule
from ._flattened import flattened
from ._layers import layers
from ._magnitude import magnitude
from ._masked_step import masked_step
from ._speed_up import timing
from ._two_of_four import pattern

ALL = (magnitude, again, masked_step, schedule, csr, layers, batch_norm, flattened, pattern, timing)
