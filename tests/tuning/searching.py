"""Searches without networks: KerasTuner's own, over a formula."""

import keras_tuner


class Search(keras_tuner.RandomSearch):
    """A random search, or a search through given values.

    Args:
        score: the function of `hp` to minimise.
        folder: where KerasTuner keeps its files.
        tries: the values of each trial, a list of dicts.
    """

    def __init__(self, score, folder, tries=None, **options):
        self.score, self.tries = score, tries
        if tries is not None:
            options["max_trials"] = len(tries)
        super().__init__(directory=folder, **options)

    def run_trial(self, trial, **options):
        hp = trial.hyperparameters
        if self.tries is not None:
            self.score(hp)  # Registers what there is.
            hp.values = dict(self.tries[int(trial.trial_id)])
        return self.score(hp)


def searched(score, folder, tries=None, **options):
    search = Search(score, folder, tries, overwrite=True, **options)
    search.search(verbose=0)
    return search
