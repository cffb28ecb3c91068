"""Accept or reject an input by a score of a model's answer and a threshold fitted on validation data."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import metrics, scores
from .beyond.feature_scores import FEATURE_SCORES
from .engine.inference import SplitModel, run_model
from .engine.tensors import fingerprint, read_tensors, write_tensors

FITTED = ("temperature_", "threshold_", "n_samples_", "fitted_on_")


class Detector:
    r"""Accept inputs whose score is at least a threshold, which is fitted on validation data.

    The interface is that of scikit-learn's outlier detectors: ``fit``, ``score_samples``, ``decision_function`` and
    ``predict``, which gives +1 for accepted inputs and -1 for rejected ones.

    Wherever inputs are taken, these are an array or tensor of inputs, an iterable of batches such as a DataLoader, or
    logits (N, C), which are recognised by their two dimensions. For a score of features, two dimensions are features.

    Parameters
    ----------
    model : callable, optional
        Inputs to logits (B, C). Without one, only logits can be given. For a score of features it must be a network of
        this package or come from ``wrap``, which gives the features that its last layer is applied to.
    score : str or callable
        A score of logits, see :func:`ood_helpers.scores.score`; a score of features, see
        ``beyond.feature_scores.FEATURE_SCORES``; or a function from logits (N, C) to scores (N,), higher = more
        in-distribution.
    temperature : float or "fit"
        Logits are divided by it. ``"fit"`` minimises the NLL of the validation labels; 1 if there are no errors.
    acceptance : float
        The share of new ID inputs to accept, at least and in expectation, if they resemble the validation data: with n
        validation inputs, the threshold is the score with the rank ceil(acceptance (n + 1)) from the highest.
    cost : float, optional
        What accepting a wrong answer costs, if rejecting an input costs 1. Given a cost, the threshold is the one with
        the least total cost on the validation data, and ``acceptance`` is not used.

    Attributes
    ----------
    threshold_, temperature_ : float
    n_samples_ : int
        Number of ID inputs that the threshold was fitted on.
    fitted_on_ : str
        Their name.
    id_scores_ : array of shape (n_samples_,)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 3, 400)
    >>> logits = 4.0 * np.eye(3)[labels] + rng.standard_normal((400, 3))
    >>> far = rng.standard_normal((200, 3))
    >>> detector = Detector(score="energy", temperature="fit").fit(logits, labels)
    >>> detector.predict(far[:4])
    array([-1, -1, -1, -1])
    >>> print(detector.report({"far": far}))  # doctest: +ELLIPSIS
    energy >= ..., temperature ...: fitted on 400 inputs (validation)
    to accept at least 95% of new ones like them, in expectation; it accepts 95.2% of them.
    ...
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        score: str | Callable[..., Any] = "msp",
        temperature: float | str = 1.0,
        acceptance: float = 0.95,
        cost: float | None = None,
    ):
        if model is not None and not callable(model):
            raise ValueError(f"the model must be callable, inputs to logits, not {type(model).__name__}")
        if not callable(score) and score not in FEATURE_SCORES:
            scores.score(score)
        if temperature != "fit" and not (isinstance(temperature, (int, float)) and temperature > 0):
            raise ValueError(f'temperature must be a positive number or "fit", not {temperature!r}')
        if score in FEATURE_SCORES and not isinstance(model, SplitModel):
            raise ValueError(f"the score {score} needs the features of a network: Detector(wrap(model), ...)")
        if cost is not None and not cost > 0:
            raise ValueError(f"cost must be positive, not {cost!r}")
        # Not as attributes of the same names, since score is a method.
        self._params: dict[str, Any] = dict(model=model, score=score, temperature=temperature)
        self._params |= dict(acceptance=acceptance, cost=cost)
        self._reference: dict[str, Any] = {}  # the training features and labels of a score of features

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; ``deep`` has no effect."""
        return dict(self._params)

    def set_params(self, **params: Any) -> "Detector":
        """Change arguments of the constructor; the detector must be fitted again."""
        if unknown := sorted(params.keys() - self._params.keys()):
            raise ValueError(f"unknown parameter {unknown[0]!r}; known: {', '.join(self._params)}")
        self.__init__(**self._params | params)  # type: ignore[misc]
        for name in (*FITTED, "id_scores_"):
            self.__dict__.pop(name, None)
        return self

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._params.items() if name != "model"}
        shown = {name: getattr(value, "__name__", value) for name, value in shown.items()}
        return f"Detector({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def fit(self, X: Any, y: Any = None, ood: Any = None, train: Any = None, name: str = "validation") -> "Detector":
        """Fit temperature and threshold on validation data, never on training or test data.

        Parameters
        ----------
        X : inputs or logits of ID validation data
        y : integer array of shape (N,), optional
            Class labels; by default those of the batches. ``temperature="fit"`` and ``cost`` need them.
        ood : inputs or logits, optional
            OOD validation data for ``cost``: accepting one of them is a wrong answer. Each input counts once, so that
            the share of OOD data should be the one that is expected in use.
        train : (inputs or features, labels), or an iterable of batches with labels
            The training set, for a score of features.
        name : str
            Of the validation data, for the report.

        Returns
        -------
        Detector
            Itself.

        Raises
        ------
        ValueError
            If the data do not fit together or are too few; the detector then stays as it was.
        """
        fitted = copy.copy(self)
        fitted._fit(X, y, ood, train, name)
        vars(self).update(vars(fitted))
        return self

    def _fit(self, X: Any, y: Any, ood: Any, train: Any, name: str) -> None:
        self._reference = self._fit_reference(train)
        logits, features, labels = self._run(X)
        labels = labels if y is None else y
        temperature, cost = self._params["temperature"], self._params["cost"]
        if temperature == "fit" or cost is not None:
            if labels is None or logits is None:
                raise ValueError("fitting a temperature or a cost needs class labels and logits: fit(logits, labels)")
            logits, labels = metrics.check_rows_and_labels(logits, labels, "logits")
        if temperature == "fit":
            errors = (np.argmax(logits, 1) != labels).any()  # without, the fit ends at its limit
            temperature = metrics.fit_temperature(logits, labels) if errors else 1.0
        self.temperature_ = float(temperature)
        self.id_scores_ = self._score(logits, features)
        self.n_samples_, self.fitted_on_ = len(self.id_scores_), name
        if cost is None:
            self.threshold_ = metrics.threshold(self.id_scores_, self._params["acceptance"], finite_sample=True)
        else:
            values, wrong = self.id_scores_, np.argmax(logits, 1) != labels
            if ood is not None:
                values = np.append(values, more := self.score_samples(ood))
                wrong = np.append(wrong, np.ones(len(more), bool))
            self.threshold_ = _cheapest(values, wrong, cost)

    def score_samples(self, X: Any) -> np.ndarray:
        """Scores (N,), higher = more in-distribution."""
        if not hasattr(self, "temperature_"):
            raise ValueError("the detector is not fitted; call fit with validation data")
        logits, features, _ = self._run(X)
        return self._score(logits, features)

    score = score_samples

    def decision_function(self, X: Any) -> np.ndarray:
        """Score minus threshold (N,): at least 0 where an input is accepted."""
        return self.score_samples(X) - self.threshold_

    def accepts(self, X: Any) -> np.ndarray:
        """Whether each input is accepted, a boolean array (N,)."""
        return self.decision_function(X) >= 0

    def predict(self, X: Any) -> np.ndarray:
        """+1 for each accepted input and -1 for each rejected one."""
        return np.where(self.accepts(X), 1, -1)

    def report(self, ood: Any, test: Any = None) -> str:
        """Describe the threshold and what it accepts of other sets.

        Parameters
        ----------
        ood : inputs or logits, or {name: inputs or logits}
        test : inputs or logits of ID data, optional
            What AUROC and FPR95 compare with; by default the validation data that the detector was fitted on.
        """
        from scipy.stats import binomtest

        given = ood if isinstance(ood, Mapping) else {"OOD": ood}
        if test is not None and "test" in given:
            raise ValueError('"test" names the ID data of the report; give the OOD set another name')
        sets = {name: self.score_samples(X) for name, X in given.items()}
        id_scores = self.id_scores_ if test is None else self.score_samples(test)
        if test is not None:
            sets = {"test": id_scores} | sets
        width = max(map(len, ("set", *sets)))
        rows = [f"{'set':<{width}}  images  accepted  (95% interval)   AUROC   FPR95"]
        for name, values in sets.items():
            count = int((values >= self.threshold_).sum())
            interval = binomtest(count, len(values)).proportion_ci(method="wilson")
            share = f"{count / len(values):>7.1%}  ({interval.low:>6.1%} to {interval.high:>6.1%})"
            result = metrics.detection(id_scores, values)
            figures = f"{result['auroc']:.4f}  {result['fpr95']:>6.1%}" if name != "test" or test is None else ""
            rows.append(f"{name:<{width}}  {len(values):>6}   {share}  {figures}".rstrip())
        return "\n".join([self._rule(), "", *rows, "", _CAVEAT])

    def _rule(self) -> str:
        p = self._params
        score = getattr(p["score"], "__name__", p["score"])
        if self._of_features():
            score = f"{score} of what enters the layer {getattr(p['model'], 'layer', 'classifier')!r}"
        aim = f"accept at least {100 * p['acceptance']:g}% of new ones like them, in expectation"
        if p["cost"] is not None:
            aim = f"minimise the cost, {p['cost']:g} for a wrong answer accepted and 1 for an input rejected"
        return (
            f"{score} >= {self.threshold_:.6g}, temperature {self.temperature_:.4g}: fitted on "
            f"{self.n_samples_} inputs ({self.fitted_on_})\nto {aim}; "
            f"it accepts {np.mean(self.id_scores_ >= self.threshold_):.1%} of them."
        )

    def save(self, path: str | Path) -> None:
        """Save everything but the model as one safetensors file, its settings as JSON in the file's metadata."""
        if callable(self._params["score"]):
            raise ValueError("a detector with a score of your own cannot be saved; use a score by name")
        if not hasattr(self, "threshold_"):
            raise ValueError("the detector is not fitted; call fit with validation data")
        settings = {name: value for name, value in self._params.items() if name != "model"}
        fitted = {name: getattr(self, name) for name in FITTED}
        record = {"settings": settings, "fitted": fitted, "model": fingerprint(self._params["model"])}
        tensors = {"id_scores": self.id_scores_} | self._reference
        write_tensors(path, tensors, {"detector": json.dumps(record, sort_keys=True)})

    @classmethod
    def load(cls, path: str | Path, model: Callable[..., Any] | None = None) -> "Detector":
        """Read a saved detector and give it its model.

        Raises
        ------
        ValueError
            If the file is not a detector's, or ``model`` has other weights than the one that it was fitted with, or a
            detector with a score of features gets no network that gives them.
        """
        tensors, metadata = read_tensors(path)
        if "detector" in metadata and "features" in tensors and not isinstance(model, SplitModel):
            raise ValueError(
                f"{path} has a score of features, which needs their network: Detector.load(path, wrap(model))"
            )
        try:
            record = json.loads(metadata["detector"])
            self = cls(model, **record["settings"])
            vars(self).update({name: record["fitted"][name] for name in FITTED})
            self.id_scores_ = tensors.pop("id_scores").numpy()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a detector: {error!r}") from None
        if None not in (model, record["model"]) and fingerprint(model) != record["model"]:
            raise ValueError(f"{path} was fitted with a model of other weights; fit a detector for this model")
        self._reference = {name: tensor.numpy() for name, tensor in tensors.items()}
        return self

    def _of_features(self) -> bool:
        return self._params["score"] in FEATURE_SCORES

    def _run(self, X: Any) -> tuple[Any, Any, Any]:
        """Logits, features and labels; None where there are none."""
        if getattr(X, "ndim", 0) == 2 or (isinstance(X, list) and np.ndim(X) == 2):
            array = metrics.to_numpy(X)
            return (None, array, None) if self._of_features() else (array, None, None)
        if self._params["model"] is None:
            raise ValueError("a detector without a model takes logits, an array of two dimensions")
        return run_model(self._params["model"], X)

    def _fit_reference(self, train: Any) -> dict[str, np.ndarray]:
        if not self._of_features():
            return {}
        if train is None:
            raise ValueError(f"the score {self._params['score']} needs the training set: fit(..., train=(X, labels))")
        X, labels = train if isinstance(train, tuple) else (train, None)
        _, features, of_batches = self._run(X)
        labels = of_batches if labels is None else labels
        if labels is None:
            raise ValueError("the training set of a score of features needs labels: train=(X, labels)")
        return {"features": np.asarray(features), "labels": metrics.to_numpy(labels)}

    def _score(self, logits: Any, features: Any) -> np.ndarray:
        score = self._params["score"]
        if self._of_features():
            head = self._params["model"].classifier
            values = FEATURE_SCORES[score](self._reference["features"], self._reference["labels"], head, features)
        else:
            function = score if callable(score) else scores.score(score)
            values = function(np.asarray(logits, np.float64) / self.temperature_)
        return metrics.check_scores(values, "detector's").astype(np.float64)


_CAVEAT = (
    "AUROC and FPR95 (share of the set accepted when 95% of ID is) take ID as the positive class. Inputs unlike these "
    "sets\nwere not measured, and no share of accepted ones is promised for them."
)


def _cheapest(values: np.ndarray, wrong: np.ndarray, cost: float) -> float:
    """The threshold with the least sum of rejected inputs and ``cost`` times accepted wrong ones, of equals the lowest.

    >>> _cheapest(np.array([1.0, 2.0, 3.0]), np.array([True, False, False]), cost=10)
    2.0
    """
    candidates = np.append(np.unique(values), np.nextafter(values.max(), np.inf))  # the last one rejects everything
    rejected = np.searchsorted(np.sort(values), candidates)
    accepted_wrong = wrong.sum() - np.searchsorted(np.sort(values[wrong]), candidates)
    return float(candidates[np.argmin(rejected + cost * accepted_wrong)])
