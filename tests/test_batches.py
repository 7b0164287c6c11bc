"""Every form of data gives the same batches, counted as `fit` counts them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import _batches

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10.0)


class Sequence(keras.utils.PyDataset):
    """Batches of four rows; `num_batches` may be what a test wants."""

    def __init__(self, num_batches=3):
        super().__init__()
        self.given = num_batches

    @property
    def num_batches(self):
        return self.given

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return X[rows], Y[rows]


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


FORMS = {"arrays": lambda: X, "tf.data": dataset, "PyDataset": Sequence}
TRAINING_FORMS = {**FORMS, "arrays": lambda: (X, Y)}
FOURS = [X[:4], X[4:8], X[8:]]


def assert_batches(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_the_inputs_with_their_number(form):
    found, totals = zip(*_batches.batches(FORMS[form](), 4), strict=True)
    assert_batches(found, FOURS)
    assert totals == (3, 3, 3)


def test_batches_of_nested_arrays_keep_their_structure():
    found = [batch for batch, _ in _batches.batches({"a": X, "b": [Y]}, 4)]
    assert_batches([batch["a"] for batch in found], FOURS)
    assert_batches([batch["b"][0] for batch in found], [Y[:4], Y[4:8], Y[8:]])


def test_a_tuple_of_arrays_is_several_inputs_to_predict_and_x_y_to_fit():
    (first, total), *_ = _batches.batches((X, Y), 4)
    assert len(first) == 2
    assert total == 3
    np.testing.assert_array_equal(_batches.first_batch((X, Y)), X)


def test_the_number_of_batches_may_be_unknown():
    unknown = dataset().filter(lambda *_: True)
    assert {total for _, total in _batches.batches(unknown, 4)} == {None}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3.0, "a row for each input"),
        ([X, Y[:3]], r"same length.*\[3, 10\]"),
        (Sequence(None), "finite number of batches"),
        (dataset().repeat(), "finite number of batches"),
        ([1.0, 2.0], r"put numbers into np.array.*1\.0"),
        (X[:0], "x must hold at least one row"),
        ({"a": np.array([1, {}])}, "array of objects: dict, int"),
        (iter([X]), "of iterators it takes generators only"),
    ],
)
def test_batches_that_cannot_be_made_are_explained(x, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        list(_batches.batches(x, 4))


@pytest.mark.parametrize("form", TRAINING_FORMS)
def test_first_batch_is_the_first_or_all_that_is_not_batched(form):
    found = _batches.first_batch(TRAINING_FORMS[form]())
    np.testing.assert_array_equal(found, X if form == "arrays" else X[:4])


def test_floats_are_given_in_the_type_of_keras_and_integers_as_they_are():
    floats, whole = _batches.first_batch(([X, np.arange(10)], Y))
    assert floats.dtype == keras.config.floatx() != X.dtype
    assert whole.dtype == np.arange(10).dtype


@pytest.mark.parametrize("form", TRAINING_FORMS)
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_first_batches_are_limited(form, limit):
    found = _batches.first_batches(TRAINING_FORMS[form](), limit, 4)
    assert_batches(found, FOURS[:limit])


def test_first_batches_of_endless_data():
    assert len(list(_batches.first_batches(Sequence(None), 3, 4))) == 3


def test_first_rows_cut_a_tuple_of_arrays_only():
    x, y, weight = _batches.first_rows((X, Y, None), 3)
    np.testing.assert_array_equal(x, X[:3])
    np.testing.assert_array_equal(y, Y[:3])
    assert weight is None
    data = dataset()
    assert _batches.first_rows(data, 3) is data


def rows_in(sample):
    return np.concatenate([x for x, _ in sample])


def test_a_sample_of_arrays_is_drawn_row_by_row():
    sample = _batches.sample_of((X, Y), 6, 4, seed=1)
    assert [len(y) for _, y in sample] == [4, 2]
    rows = rows_in(sample)
    np.testing.assert_array_equal(rows, rows_in(sample))
    chosen = (rows[:, 0] / 2).astype(int)
    assert len(set(chosen)) == 6
    assert list(chosen) == sorted(chosen) != list(range(6))
    np.testing.assert_array_equal(np.concatenate([y for _, y in sample]), Y[chosen])
    other = _batches.sample_of((X, Y), 6, 4, seed=2)
    assert not np.array_equal(rows, rows_in(other))


def test_a_sample_of_a_pydataset_is_drawn_batch_by_batch():
    samples = [_batches.sample_of(Sequence(2), 4, 99, seed) for seed in range(8)]
    starts = {float(rows_in(sample)[0, 0]) for sample in samples}
    assert starts == {0.0, 8.0}
    assert {len(rows_in(sample)) for sample in samples} == {4}


def test_a_sample_of_a_dataset_is_its_first_batches_and_stays():
    shuffled = tf.data.Dataset.range(64).shuffle(64).map(lambda n: (n, n)).batch(8)
    sample = _batches.sample_of(shuffled, 12, 99, seed=0)
    rows = rows_in(sample)
    assert len(rows) == 16
    np.testing.assert_array_equal(rows, rows_in(sample))


@pytest.mark.parametrize("form", FORMS)
def test_symbolic_inputs_build_a_model(form):
    model = keras.Sequential([keras.layers.Dense(1)])
    model(_batches.symbolic_inputs(FORMS[form]()))
    assert model.layers[0].kernel.shape == (2, 1)


def test_symbols_have_no_fixed_number_of_rows_and_the_type_of_keras():
    symbols = _batches.symbolic_inputs({"a": X, "b": np.arange(10)})
    assert symbols["a"].shape == (None, 2)
    assert symbols["a"].dtype == keras.config.floatx()
    assert symbols["b"].dtype == "int64"


def test_a_generator_builds_no_model():
    with pytest.raises(ValueError, match="model must be built where x is a generator"):
        _batches.symbolic_inputs(iter([X]))


# Counts are compared with `fit` in tests/optimizers/schedules/test_length.py.


def test_counts_of_batches():
    assert _batches.count_of_batches(X) == 1
    assert _batches.count_of_batches([X, X], 4) == 3
    assert _batches.count_of_batches(10, 4) == 3
    assert _batches.count_of_batches(dataset()) == 3
    assert _batches.count_of_batches(Sequence(5)) == 5


@pytest.mark.parametrize("x", [Sequence(None), dataset().repeat(), Sequence(0)])
def test_what_has_no_count_is_refused(x):
    with pytest.raises(ValueError, match="known, finite number of batches"):
        _batches.count_of_batches(x)


def seen_by_fit(steps, x, y=None, **options):
    """The first batches of targets that `fit` gets until it is stopped."""
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = len(seen) == steps

    class Recording(keras.Model):
        def train_step(self, data):
            seen.append(np.asarray(data[1]))
            return {"loss": tf.zeros(())}

        def call(self, x):
            return x

    model = Recording()
    model.compile(run_eagerly=True)
    defaults = {"batch_size": 4, "count": steps, "shuffle": False, "seed": None}
    arguments = _batches.endless(x, y, None, **{**defaults, **options})
    model.fit(**arguments, callbacks=[Stop()], verbose=0, shuffle=False)
    return seen


@pytest.mark.parametrize("form", ["arrays", "tf.data", "PyDataset", "generator"])
def test_endless_data_start_again_where_they_end(form):
    forms = {
        **TRAINING_FORMS,
        "generator": lambda: (batch for batch in itertools.cycle(list(dataset()))),
    }
    data = forms[form]()
    given = data if isinstance(data, tuple) else (data,)
    found = np.concatenate(seen_by_fit(7, *given))
    np.testing.assert_array_equal(found, np.resize(Y, len(found)))


def test_arrays_are_shuffled_in_every_pass():
    one, again, other = (
        np.concatenate(seen_by_fit(6, X, Y, batch_size=5, shuffle=True, seed=seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:10], one[10:20])
    for start in (0, 10, 20):
        np.testing.assert_array_equal(np.sort(one[start : start + 10]), Y)


def test_endless_arrays_must_have_one_length():
    with pytest.raises(ValueError, match=r"x and y must.*same length.*\[9, 10\]"):
        seen_by_fit(1, X, Y[:9])


RAGGED = tf.RaggedTensor.from_row_lengths(np.arange(10.0), [0, 1, 2, 3, 4])
SPARSE = tf.sparse.from_dense(np.diag(np.arange(1.0, 6.0)))


@pytest.mark.parametrize("array", [RAGGED, SPARSE], ids=["ragged", "sparse"])
def test_ragged_and_sparse_tensors_are_cut_into_rows(array):
    def dense(part):
        part = part.to_tensor() if part is RAGGED or hasattr(part, "nrows") else part
        return tf.sparse.to_dense(part) if isinstance(part, tf.SparseTensor) else part

    found = [batch for batch, _ in _batches.batches(array, 2)]
    assert [_batches.count_of_rows(x=part) for part in found] == [2, 2, 1]
    assert {type(part) for part in found} == {type(array)}
    assert {part.dtype.name for part in found} == {keras.config.floatx()}
    np.testing.assert_array_equal(dense(_batches.joined(found)), dense(array))
    arguments = _batches.endless(
        array, np.arange(5), None, batch_size=2, count=5, shuffle=True, seed=1
    )
    order = arguments["y"]
    assert sorted(order[:5]) == list(range(5))
    np.testing.assert_array_equal(dense(arguments["x"]), tf.gather(dense(array), order))
    sample = _batches.sample_of((array, np.arange(5)), 3, 2, seed=0)
    rows = np.concatenate([y for _, y in sample])
    parts = _batches.joined([x for x, _ in sample])
    assert len(rows) == _batches.count_of_rows(x=parts) == 3
    found = tf.RaggedTensor.from_tensor(dense(parts), padding=0.0).to_list()
    expected = tf.RaggedTensor.from_tensor(dense(array), padding=0.0).to_list()
    assert found == [expected[row] for row in rows]


def test_strings_stay_strings():
    words = np.array(["a", "b", "c"], dtype=object)
    found = [batch.numpy().tolist() for batch, _ in _batches.batches(words, 2)]
    assert found == [[b"a", b"b"], [b"c"]]
    assert _batches.symbolic_inputs(words).dtype == "string"


def test_a_list_of_arrays_is_several_inputs_and_never_stacked():
    for data in (([X, X], [Y, Y]), ((X, X), (Y, Y))):
        x, y = next(iter(_batches.sample_of(data, 4, 4, seed=0)))
        assert [part.shape for part in keras.tree.flatten((x, y))] == [
            (4, 2), (4, 2), (4,), (4,),
        ]  # fmt: skip
    assert len(_batches.first_batch([X, X])) == 2
    assert len(_batches.first_batch(([X, X], Y))) == 2
    assert [len(b) for b in _batches.first_batches([X, X], 1, 4)] == [2]


def test_a_list_in_a_pydataset_is_inputs_and_targets():
    class Listed(Sequence):
        def __getitem__(self, index):
            return list(super().__getitem__(index))

    np.testing.assert_array_equal(_batches.first_batch(Listed()), X[:4])
    found = [batch for batch, _ in _batches.batches(Listed(), 4)]
    assert_batches(found, FOURS)


def test_a_generator_loses_no_batch():
    def generator():
        yield from dataset()

    found = [batch for batch, total in _batches.batches(generator(), 4)]
    assert_batches(found, FOURS)
    sample = _batches.sample_of(generator(), 8, 4, seed=0)
    np.testing.assert_array_equal(rows_in(sample), X[:8])
    np.testing.assert_array_equal(rows_in(sample), X[:8])
    with pytest.raises(ValueError, match="at least one batch"):
        list(_batches.batches((x for x in []), 4))


def test_data_frames_and_series_are_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(int)})
    found = [batch for batch, _ in _batches.batches(frame, 4)]
    assert_batches(found, FOURS)
    assert _batches.count_of_rows(x=_batches.as_arrays(pandas.Series(Y))) == 10
    with pytest.raises(ValueError, match="numbers or strings"):
        _batches.as_arrays(pandas.DataFrame({"a": [1, "x"]}))


def test_a_data_loader_and_tensors_of_pytorch():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(Y)
    assert_batches([b for b, _ in _batches.batches(x, 4)], FOURS)
    pairs = torch.utils.data.TensorDataset(x.detach(), y)
    loader = torch.utils.data.DataLoader(pairs, batch_size=4)
    assert_batches([b for b, _ in _batches.batches(loader, 4)], FOURS)
    assert _batches.count_of_batches(loader) == 3
    np.testing.assert_array_equal(_batches.first_batch(loader), X[:4])


@pytest.mark.parametrize("other", ["y", "sample_weight"])
def test_batches_hold_targets_and_weights_themselves(other):
    given = {"y": None, "sample_weight": None, other: Y}
    with pytest.raises(ValueError, match=f"{other} must not be given where x is in"):
        _batches.endless(
            dataset(), **given, batch_size=4, count=1, shuffle=False, seed=0
        )


def test_lengths_that_differ_are_told_by_argument():
    message = r"x and y must hold.*lengths \[9, 10\]: x of 10 and 10; y of 9"
    with pytest.raises(ValueError, match=message):
        _batches.count_of_rows(x=[X, X], y=Y[:9], sample_weight=None)


@pytest.mark.parametrize("data", [X[:0], [X, X[:0]], dataset().take(0)])
def test_data_without_rows_are_refused(data):
    with pytest.raises(ValueError, match="data must hold at least one row"):
        _batches.require_rows(data, "data")
    if not isinstance(data, list):
        with pytest.raises(ValueError, match="at least one row"):
            _batches.first_batch(data)


def test_strings_that_a_tensor_gives_as_bytes_are_read():
    words = tf.constant([["one"], ["größer"], ["three"]])
    ((batch, total),) = _batches.batches(words.numpy(), 3)
    assert total == 1
    assert batch.numpy().tolist() == words.numpy().tolist()
