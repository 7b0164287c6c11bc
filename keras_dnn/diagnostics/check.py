"""Checks: small functions that look for one disease each, and the list of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keras_dnn._result import Result
from keras_dnn.diagnostics.finding import Finding

GUIDE = "docs/guides/when_training_goes_wrong.md"
"""The page that explains the checks of this package, under a heading for each."""


@dataclasses.dataclass(frozen=True)
class Check(Result):
    """Looks for one disease.

    Attributes:
        name: of the disease, `"in-small-letters"`.
        looks_for: what it looks for, in a few words.
        threshold: the number from which on it is one; `None` where it is yes or no.
        source: where the threshold comes from.
        advice: what to do about it.
        blocking: whether nothing else can be told once it has found an error.
        see: where it is explained; may be empty.
        find: function of what is examined and of the check that yields findings.
    """

    name: str
    looks_for: str
    threshold: float | None
    source: str
    advice: str
    blocking: bool
    see: str
    find: Callable[[Any, Check], Iterator[Finding]]

    def finding(
        self,
        severity: str,
        message: str,
        layer: str | None = None,
        advice: str | None = None,
        **evidence: Any,
    ) -> Finding:
        """Makes a finding of this check.

        Args:
            severity: `"error"`, `"warning"` or `"note"`.
            message: one sentence that says what was seen.
            layer: path of the layer.
            advice: in place of that of the check.
            **evidence: the numbers.

        Returns:
            A `Finding`.
        """
        return Finding(
            self.name,
            severity,
            layer,
            message,
            evidence,
            advice or self.advice,
            self.see,
        )


REGISTRY: dict[str, Check] = {}


def register_check(
    name: str,
    *,
    looks_for: str,
    advice: str,
    threshold: float | None = None,
    source: str = "",
    blocking: bool = False,
    see: str = "",
) -> Callable[[Any], Any]:
    """Adds a function to the checks that `preflight` makes.

    The function takes an `Examination` and its `Check`, and yields what
    `check.finding(...)` makes. Checks are made in the order in which they were added;
    one of a name that is there already takes its place.

    Args:
        name: of the disease.
        looks_for: what the check looks for, in a few words.
        advice: what to do about it.
        threshold: the number from which on it is one; the function reads it from its
            check.
        source: where the threshold comes from.
        blocking: whether nothing else can be told once it has found an error.
        see: where it is explained, such as the address of a page.

    Returns:
        A decorator that leaves the function as it is.

    Example:
        >>> from keras_dnn.diagnostics import register_check, unregister_check
        >>> @register_check(
        ...     "too-deep",
        ...     looks_for="more layers than anybody wants",
        ...     threshold=1000,
        ...     advice="Use fewer layers.",
        ... )
        ... def too_deep(examination, check):
        ...     count = len(examination.layers)
        ...     if count > check.threshold:
        ...         yield check.finding("note", "The network is deep.", layers=count)
        >>> unregister_check("too-deep")
    """

    def register(find: Any) -> Any:
        REGISTRY[name] = Check(
            name, looks_for, threshold, source, advice, blocking, see, find
        )
        return find

    return register


def unregister_check(name: str) -> None:
    """Takes a check off the list.

    Args:
        name: of the check.

    Raises:
        ValueError: if there is none of this name.

    Example:
        >>> from keras_dnn.diagnostics import register_check, unregister_check
        >>> keep = register_check("mine", looks_for="nothing", advice="")(None)
        >>> unregister_check("mine")
    """
    if name not in REGISTRY:
        raise ValueError(
            f"name must be one of {', '.join(REGISTRY)}. Received: name={name!r}"
        )
    del REGISTRY[name]


def registered_checks() -> tuple[Check, ...]:
    """Gives the checks that `preflight` makes, in their order.

    Returns:
        A tuple of `Check`.

    Example:
        >>> from keras_dnn.diagnostics import registered_checks
        >>> "vanishing" in [check.name for check in registered_checks()]
        True
    """
    return tuple(REGISTRY.values())


def chosen(
    checks: Mapping[str, Check],
    skip: Iterable[str],
    thresholds: Mapping[str, float] | None,
) -> list[Check]:
    """The checks without those to leave out, with other thresholds where there are."""
    skipped = [skip] if isinstance(skip, str) else list(skip)
    moved = dict(thresholds or {})
    for argument, names in (("skip", skipped), ("thresholds", list(moved))):
        unknown = [name for name in names if name not in checks]
        if unknown:
            raise ValueError(
                f"{argument} must hold names of checks: {', '.join(checks)}. "
                f"Received: {', '.join(map(repr, unknown))}"
            )
    return [
        dataclasses.replace(check, threshold=moved.get(name, check.threshold))
        for name, check in checks.items()
        if name not in skipped
    ]
