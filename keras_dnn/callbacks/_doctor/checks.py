"""The checks that the doctor makes, in their order: causes before what follows."""

from keras_dnn.callbacks._doctor.layer_checks import (
    dead_units,
    exploding,
    nonfinite,
    saturated_units,
    update_ratio,
    vanishing,
)
from keras_dnn.callbacks._doctor.loss_checks import (
    overfitting,
    plateau,
    rate_too_high,
    rate_too_low,
    underfitting,
)

CHECKS = {
    check.name: check
    for check in (
        nonfinite,
        rate_too_high,
        exploding,
        underfitting,
        dead_units,
        saturated_units,
        vanishing,
        rate_too_low,
        plateau,
        overfitting,
        update_ratio,
    )
}
