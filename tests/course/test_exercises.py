"""The exercises: solutions are accepted, and wrong answers get their own hints."""

import io
from contextlib import redirect_stdout
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from ood_helpers import losses, metrics, scores
from ood_helpers.beyond import norm_losses
from ood_helpers.course.exercises import EXERCISES, check, verdict
from ood_helpers.course.grading import auroc

ROOT = Path(__file__).parents[2]
BOOKS = {path.stem: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def tagged(tag):
    """(notebook, name of the exercise, source) of every cell with this tag."""
    return [
        (stem, cell.id.partition("-")[2], cell.source)
        for stem, book in BOOKS.items()
        for cell in book.cells
        if tag in cell.metadata.get("tags", ()) and cell.cell_type == "code"
    ]


def trained(seed=0):
    """A stand-in for a run: an untrained network, and images."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)).requires_grad_(False)
    images = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8)
    return SimpleNamespace(load_model=lambda: lambda x: model(x.float() / 64), images=lambda name: images)


def do(source, stem):
    """What a cell prints, in a notebook that has run its settings."""
    imports = "\n".join(
        line
        for cell in BOOKS[stem].cells
        if cell.cell_type == "code"
        for line in cell.source.splitlines()
        if line.startswith(("import ", "from "))
    )
    names = {"__name__": "__main__"}
    exec(imports, names)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(source, names | {"run": trained()})
    return printed.getvalue()


def test_every_notebook_has_exercises_and_every_exercise_one_blank_and_one_solution():
    blanks, solutions = ([(stem, name) for stem, name, _ in tagged(tag)] for tag in ("exercise", "solution"))
    assert blanks == solutions and sorted(name for _, name in blanks) == sorted(EXERCISES)
    numbers = {stem: sum(stem == each for each, _ in blanks) for stem in BOOKS}
    assert numbers.pop("10_museum_of_bugs") == 10  # its exhibits
    assert all(2 <= number <= 3 for number in numbers.values())


@pytest.mark.parametrize(
    "stem, name, source", tagged("solution"), ids=lambda value: value if value in EXERCISES else ""
)
def test_solution_is_accepted_each_time(stem, name, source):
    for _ in range(2):
        assert f"Solved · {name}: " in do(source, stem)


@pytest.mark.parametrize(
    "stem, name, source", tagged("exercise"), ids=lambda value: value if value in EXERCISES else ""
)
def test_blank_fails_with_a_hint_and_without_an_error(stem, name, source):
    assert do(source, stem).startswith(f"Not yet · {name}: ")


GIVEN = {"changed_images": [trained()], "threshold_95": ["id"]}


@pytest.mark.parametrize("name", EXERCISES)
def test_no_constant_passes(name):
    constants = [None, 0, 0.5, 1.0, "same", [], {}, np.zeros(40), torch.zeros(())]
    for value in constants:
        assert not verdict(name, value, *GIVEN.get(name, ()))[0]
        assert not verdict(name, lambda *_, value=value: value, *GIVEN.get(name, ()))[0]


@pytest.mark.parametrize(
    "name, words",
    [
        ("changed_images", (0.5, 0.9, 1)),
        ("auroc_survives", ("same", "changes")),
        ("doubled_logits", ("same", "changes")),
        ("which_margins", ("acts", "inert")),
        ("which_choices", ("flatters", "honest")),
        ("what_it_sees", ("sees", "blind")),
    ],
)
def test_one_word_for_everything_is_no_prediction(name, words):
    (source,) = (source for _, each, source in tagged("exercise") if each == name)
    lines = [line.split('"')[1] for line in source.splitlines() if line.startswith('    "')]
    for word in words:
        solved, message = verdict(name, dict.fromkeys(lines, word), *GIVEN.get(name, ()))
        assert not solved and "right" in message


def sigmoid_auroc(known, strange):
    a, b = (1 / (1 + np.exp(-s.astype(np.float32))) for s in (known, strange))
    return np.mean(a[:, None] > b) + np.mean(a[:, None] == b) / 2


HELPERS = {
    "msp": scores.msp,
    "logitnorm": lambda z, y, tau: losses.LogitNormLoss(tau)(z, y),
    "isomaxplus_logits": lambda x, w, s: losses.IsoMaxPlusLossFirstPart(8, 5).double()(x),
    "colleague": lambda known, strange: metrics.detection(known, strange)["auroc"],
    "threshold_95": lambda s: __import__("ood_helpers").metrics.threshold(s, 0.95),
    "kappa": __import__("sklearn.metrics").metrics.cohen_kappa_score,
    "margin_slope": lambda z, y, m: losses.MarginEnhancedLogitNormLoss(1.0, m, "target").double()(z, y),
    "softmax_gradient": lambda z, y: torch.autograd.grad(F.cross_entropy(z.requires_grad_(), y), z)[0],
    "negated_twice": scores.energy,
    "by_the_direction": lambda z, y, tau: losses.LogitNormLoss(tau)(z, y),
    "threshold_and_target": norm_losses.clipped,
}


@pytest.mark.parametrize("name", HELPERS)
def test_the_helper_itself_does_not_pass_for_the_students_work(name):
    solved, message = verdict(name, HELPERS[name], *GIVEN.get(name, ()))
    assert not solved and " at work. " in message


def test_the_oracle_of_the_checks_does_not_pass_either():
    assert (
        " at work. " in verdict("colleague", auroc)[1]
        and " at work. " in verdict("colleague", lambda a, b: auroc(a, b))[1]
    )


def onehot(y, z):
    return F.one_hot(y, z.shape[1])


def slope_of_target(z, y, m):
    m = torch.tensor(m, requires_grad=True)
    return torch.autograd.grad(F.cross_entropy((z - m * onehot(y, z)) / z.norm(dim=1, keepdim=True), y), m)


def boundaries(z, w):
    top, best = z.max(1, keepdim=True)
    return (top - z) / (torch.cdist(w, w) + torch.eye(len(w)))[best[:, 0]]


def auprs(a, b):
    is_id, s = np.r_[np.ones(len(a)), np.zeros(len(b))], np.r_[a, b]
    return average_precision_score(is_id, s), average_precision_score(1 - is_id, -s)


WRONG = [  # (exercise, a common wrong answer, a word of its own hint)
    ("msp", lambda z: np.exp(z).max(1) / np.exp(z).sum(1), "too large"),
    ("msp", lambda z: z.max(1), "largest logit"),
    ("msp", lambda z: z, "shape"),
    ("msp", lambda z: z / z.sum(1), "keepdim"),
    ("softmax_gradient", lambda z, y: z.softmax(1) - onehot(y, z), "gradient of the sum"),
    ("softmax_gradient", lambda z, y: (onehot(y, z) - z.softmax(1)) / len(z), "downhill"),
    ("norm_needed", lambda q, k: np.log((k - 1) * q / (1 - q)), "gap between"),
    ("norm_needed", lambda q, k: np.log(q / (1 - q)) / np.sqrt(k / (k - 1)), "one rival"),
    ("logitnorm", lambda z, y, tau: F.cross_entropy(z / (z.norm(dim=1, keepdim=True) * tau), y), "1e-7"),
    ("logitnorm", lambda z, y, tau: F.cross_entropy(z / (z.norm() * tau), y), "each image has its own"),
    ("logitnorm", lambda z, y, tau: F.cross_entropy(z / z.norm(dim=1) / tau, y), "keepdim"),
    ("logitnorm", lambda z, y, tau: F.nll_loss(z / z.norm(dim=1, keepdim=True) / tau, y), "four releases"),
    ("tau_for_floor", lambda L, k: 2 / np.log((k - 1) / np.expm1(L)), "looser bound"),
    ("pick_tau", lambda table: max(table, key=lambda c: c.test_auroc).tau, "test_auroc was looked at"),
    ("pick_tau", lambda table: min(table, key=lambda c: c.training_loss).tau, "smallest tau"),
    ("margin_slope", lambda z, y, m: 0.0, "so m left every logit"),
    ("margin_slope", lambda z, y, m: slope_of_target(z, y, m), "in a tuple"),
    (
        "margin_slope",
        lambda z, y, m: ((1 - z.softmax(1).gather(1, y[:, None])) / z.norm(dim=1, keepdim=True)).mean(),
        "raw logits",
    ),
    ("softmax_gradient", lambda z, y: z.softmax(1) - y, "one_hot"),
    ("positive_temperature", lambda theta: theta.abs() + 1, "turns around"),
    ("positive_temperature", lambda theta: (1 + theta).clamp(min=0.01), "flat somewhere"),
    ("positive_temperature", lambda theta: 1 + theta, "above zero"),
    ("positive_temperature", lambda theta: theta.detach().exp(), "gradient must pass"),
    ("isomaxplus_logits", lambda x, w, s: abs(s) * torch.cdist(F.normalize(x), F.normalize(w)), "near prototype"),
    ("isomaxplus_logits", lambda x, w, s: -abs(s) * torch.cdist(x, w), "that is IsoMax"),
    ("isomaxplus_logits", lambda x, w, s: -torch.cdist(x, w), "no scale"),
    ("isomaxplus_logits", lambda x, w, s: -s * torch.cdist(F.normalize(x), F.normalize(w)), "below zero"),
    ("mosaic_targets", lambda drawn, k: F.one_hot(drawn, k).double().amax(1) / 4, "colleague's"),
    ("colleague", sigmoid_auroc, "the same as the colleague's"),
    ("colleague", lambda a, b: np.mean(a[:, None] > b), "one half"),
    ("kappa", lambda t, n: np.mean(t == n), "accuracy"),
    ("kappa", lambda t, n: (np.mean(t == n) - 0.25) / 0.75, "not 1/C"),
    ("honest_epoch", lambda v, t: t.max(1).mean(), "luck of the draw"),
    ("honest_epoch", lambda v, t: v.max(1).mean(), "validation"),
    ("gap_in_errors", lambda ours, m, s, n: (ours.mean() - m) / np.sqrt(ours.var() / len(ours) + s**2 / n), "ddof"),
    ("gap_in_errors", lambda ours, m, s, n: (ours.mean() - m) / np.hypot(ours.std(ddof=1), s), "sqrt(n)"),
    ("gap_in_errors", lambda ours, m, s, n: ours.mean() - m, "the gap itself"),
    ("smallest_change", lambda network, image, c: image, "0 of 6"),
    ("smallest_change", lambda network, image, c: image * np.nan, "NaN"),
    ("smallest_change", lambda network, image, c: image[:3], "shape"),
    ("boundary_loss", lambda z, w, y: F.cross_entropy(z / boundaries(z, w).sum(1, keepdim=True), y), "their mean"),
    ("boundary_loss", lambda z, w, y: F.cross_entropy(z / boundaries(z, w).sum(1, keepdim=True) * 4, y), "almost"),
    ("boundary_loss", lambda z, w, y: F.cross_entropy(z / z.norm(dim=1, keepdim=True), y), "that is LogitNorm"),
    ("boundary_loss", lambda z, w, y: F.cross_entropy(z / (boundaries(z, w) / 0 * 0).mean(1, True), y), "0 / 0"),
    ("negated_twice", lambda z: -z.logsumexp(1), "its sign is not"),
    ("negated_twice", lambda z: z.amax(1), "that of the energy"),
    ("negated_twice", lambda z: z, "one number per image"),
    ("divided_twice", lambda r: torch.eye(8), "A constant factor cannot matter"),
    ("divided_twice", lambda r: torch.eye(3), r"is (8, 8)"),
    ("swapped_names", lambda a, b: {"aupr": 1.0}, "aupr_in and aupr_out"),
    ("swapped_names", lambda a, b: dict(zip(("aupr_out", "aupr_in"), auprs(a, b))), "Guessing has 10 %"),
    ("swapped_names", lambda a, b: dict(zip(("aupr_out", "aupr_in"), auprs(-a, -b))), "which class is positive"),
    ("sigmoid_inside", lambda a, b: sigmoid_auroc(a.numpy(), b.numpy()), "float32"),
    ("by_the_direction", lambda z, y, tau: F.cross_entropy(z / F.normalize(z) / tau, y), "it only guesses"),
    ("by_the_direction", lambda z, y, tau: F.cross_entropy(z / tau, y), "is right"),
    ("by_the_direction", lambda z, y, tau: z, "one number"),
    ("one_norm", lambda z, y, tau: F.cross_entropy(F.normalize(z, p=1) / tau, y), "in the 2-norm"),
    ("one_norm", lambda z, y, tau: F.cross_entropy(z / tau, y), "is right"),
    ("no_log_softmax", lambda z, y: F.nll_loss(z, y), "negative"),
    ("no_log_softmax", lambda z, y: F.nll_loss(z.softmax(1), y) + 1, "is right"),
    ("not_the_energy", lambda z: z.log_softmax(1).amax(1), "that of MSP"),
    ("not_the_energy", lambda z: z.amin(1), "that of the energy"),
    ("wrong_test_set", lambda results: np.mean(list(results.values())), "Which sets are near"),
    ("threshold_and_target", lambda z, t: F.normalize(z) / t, "made longer"),
    ("threshold_and_target", lambda z, t: F.normalize(z) * t, "stay as they are"),
]


@pytest.mark.parametrize("name, answer, word", WRONG, ids=lambda value: value if value in EXERCISES else "")
def test_common_wrong_answers_get_their_own_hint(name, answer, word):
    solved, message = verdict(name, answer, *GIVEN.get(name, ()))
    assert not solved and word in message


@pytest.mark.parametrize(
    "threshold, positive, word",
    [
        (lambda s: np.quantile(s, 0.95), "id", "other end"),
        (lambda s: np.quantile(s, 0.05), "id", "between two scores"),
        (lambda s: s.min(), "id", "highest"),
        (lambda s: np.sort(s)[len(s) - -(-19 * len(s) // 20)], "ood", "of which set"),
        (lambda s: np.sort(s)[len(s) - -(-19 * len(s) // 20)], "yes", "convention"),
        (lambda s: s, "id", "one number"),
    ],
)
def test_a_threshold_needs_its_convention(threshold, positive, word):
    solved, message = verdict("threshold_95", threshold, positive)
    assert not solved and word in message


def test_an_overshooting_attack_gets_its_own_hint():
    def attack(network, image, confidence):
        x = image.clone()
        while (p := network(x.requires_grad_()).softmax(0)).max() < 0.97:
            (slope,) = torch.autograd.grad(p.max(), x)
            x = (x + 0.5 * slope / slope.norm()).detach()
        return x

    assert "overshoot" in verdict("smallest_change", attack)[1]


def test_dots_are_answered_without_a_look_at_the_exercise(capsys):
    check("msp", ...)
    assert capsys.readouterr().out == "Not yet · msp: still the dots. Put your answer in their place.\n"


def test_an_answer_is_judged_alike_whatever_was_checked_before():
    first = verdict("smallest_change", lambda network, image, c: image)
    verdict("msp", scores.msp)
    assert verdict("smallest_change", lambda network, image, c: image) == first


@pytest.mark.parametrize("value, word", [(np.float32(0.5), "right order"), (70, "70 % is 0.7"), (..., "no number yet")])
def test_a_predicted_auroc_may_be_any_number_from_0_to_1(value, word):
    lines = ("turned upside down", "black and white exchanged", "half as bright", "pixels shuffled")
    assert word in verdict("changed_images", dict.fromkeys(lines, value), trained())[1]


def test_a_prediction_in_the_right_order_is_shown_the_measurement():
    lines = ("turned upside down", "black and white exchanged", "half as bright", "pixels shuffled")
    guesses = permutations((0.01, 0.02, 0.03, 0.04))
    hints = [verdict("changed_images", dict(zip(lines, guess)), trained())[1] for guess in guesses]
    assert sum("Measured: turned upside down 0." in hint for hint in hints) >= 1
    assert all("Measured" in hint or " is above “" in hint or "the other way round" in hint for hint in hints)


def test_what_is_said_about_a_solution_is_true():
    solved = {name: source for _, name, source in tagged("solution")}
    books = {name: stem for stem, name, _ in tagged("solution")}
    said = {name: do(solved[name], books[name]) for name in ("norm_needed", "tau_for_floor", "smallest_change")}
    assert "adds log 10 = 2.3 to the gap, and sqrt((k - 1) / k) of that to the norm" in said["norm_needed"]
    needed = [(np.log(5) + np.log(q / (1 - q))) / np.sqrt(6 / 5) for q in (0.9999, 0.99999)]
    assert needed[1] - needed[0] == pytest.approx(np.log(10) * np.sqrt(5 / 6), rel=1e-3)
    floors = [losses.lower_bound(6, tau) for tau in (0.28, 1.2 * 0.28)]
    assert f"from {floors[0]:.2f} to {floors[1]:.2f}" in said["tau_for_floor"] and floors[1] > 1.8 * floors[0]
    assert "So little" not in said["smallest_change"] and "long" in said["smallest_change"]


def test_a_student_who_spoils_the_inputs_spoils_nothing():
    def gradient(z, y):
        result = (z.softmax(1) - onehot(y, z)) / len(z)
        z.zero_()
        return result

    assert verdict("softmax_gradient", gradient)[0]


def test_unknown_exercise_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown exercise 'mps'; known: .*msp"):
        check("mps", 1)
