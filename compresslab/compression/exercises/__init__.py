"""The exercises of lessons 50 and 51: solutions, checks against SciPy, torch and the library, and named mistakes."""

from .coding import information, shortest, spacing
from .distillation import distilled, omitted, softened
from .sharing import gathered, lloyd

ALL = (softened, distilled, omitted, lloyd, gathered, spacing, information, shortest)
