"""Learning rates, and momenta, that move as training goes on."""

from keras_dnn.optimizers.schedules._schedule import Schedule
from keras_dnn.optimizers.schedules.one_cycle import OneCycle

__all__ = ["OneCycle", "Schedule"]
