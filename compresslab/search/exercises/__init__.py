"""The exercises of lessons 20 and 21: solutions, checks against real libraries, and the mistakes worth naming."""

from ._how_many import how_many
from ._hyperband import hyperband
from ._kfold import kfold
from ._one_error import one_error
from ._sampling import sampling
from ._survivors import survivors

ALL = (sampling, how_many, kfold, one_error, survivors, hyperband)
