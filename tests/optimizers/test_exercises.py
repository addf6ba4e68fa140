"""Every checker passes the solution and rejects wrong answers, written here as a learner might, with the right sentence."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from compresslab.optimizers import exercises
