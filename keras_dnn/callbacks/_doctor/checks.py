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
    over_fitting,
    plateau,
    rate_too_high,
    rate_too_low,
    under_fitting,
)

CHECKS = {
    check.name: check
    for check in (
        nonfinite,
        rate_too_high,
        exploding,
        under_fitting,
        dead_units,
        saturated_units,
        vanishing,
        rate_too_low,
        plateau,
        over_fitting,
        update_ratio,
    )
}
