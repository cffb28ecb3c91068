"""Plots, as a reader sees them: the texts on them, what is drawn, and whether it can be distinguished."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from sklearn.metrics import average_precision_score, roc_curve

from ood_helpers import figures, losses, plots
from ood_helpers.beyond.styles import BEYOND_STYLES
from ood_helpers.course import plots as demos
from ood_helpers.drawing import layout

RNG = np.random.default_rng(0)
ID_SCORES, NEAR, NOISE = RNG.normal(2, 1, 300), RNG.normal(0.5, 1, 200), RNG.normal(-1, 1, 250)
LABELS = RNG.integers(0, 6, 400)
PROBABILITIES = RNG.dirichlet(np.full(6, 0.3), 400)
EPOCHS = list(range(31))
HISTORY = {
    "epoch": EPOCHS,
    "norm": {
        name: [[e * k, e * k + 1, e * k + 3] for e in EPOCHS] for k, name in enumerate(("test", "near", "noise"), 1)
    },
    "confidence": {name: [1 - np.exp(-e / 9 - k) for e in EPOCHS] for k, name in enumerate(("test", "near", "noise"))},
}
IMAGES = RNG.integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
HOSTILE = ["$x^2", "a $cash$ cow", "<img src=x onerror=alert(1)>", "two\nlines", "_hidden", "x" * 90]
PLANE = np.linspace(-3, 3, 20)
SCORES = {name: (ID_SCORES + k, NEAR) for k, name in enumerate(losses.RECIPES)}

GALLERY = {
    "histogram": lambda ax: plots.histogram(ax, ID_SCORES, {"near": NEAR, "noise": NOISE}, threshold=1.0),
    "norm_growth": lambda ax: plots.norm_growth(ax, HISTORY),
    "confidence": lambda ax: plots.confidence(ax, HISTORY, num_classes=6),
    "reliability": lambda ax: plots.reliability(ax, PROBABILITIES, LABELS),
    "sweep": lambda ax: demos.sweep(ax, [0.01, 0.1, 1.0], [0.2, 0.4, 1.5], [0.1, 0.3, 1.4], chosen=0.1),
    "roc": lambda ax: plots.roc(ax, SCORES),
    "pr": lambda ax: plots.pr(ax, SCORES),
    "heatmap": lambda ax: plots.heatmap(ax, [[60, 90.5], [np.nan, 70]], HOSTILE[:2], HOSTILE[2:4], "AUROC in %"),
    "seeds": lambda ax: plots.seeds(ax, {name: RNG.normal(9, 1, 5) for name in losses.RECIPES}, "FPR95 in %"),
    "prototypes": lambda ax: demos.prototypes(ax, RNG.normal(size=(6, 9)), HOSTILE),
    "images": lambda ax: demos.images(ax, IMAGES, HOSTILE, columns=3, ood=[4]),
    "mosaic": lambda ax: demos.mosaic(ax, IMAGES[0], HOSTILE[:4]),
    "inert_margin": lambda ax: demos.inert_margin(ax, [0, 1, 2], {"on all": [1, 1, 1], "on one": [1, 2, 3]}),
    "temperature_path": lambda ax: demos.temperature_path(ax, EPOCHS, {"free": 1 - np.square(EPOCHS)}),
    "class_counts": lambda ax: demos.class_counts(ax, LABELS, HOSTILE),
    "per_class": lambda ax: demos.per_class(ax, {"IsoMax+": np.arange(6), "DisMax": np.arange(6)}, HOSTILE, "logit"),
    "published": lambda ax: demos.published(
        plots.seeds(ax, {"softmax": [93.0, 94.0], "meln": [50.0, 60.0]}, "AUROC in %"),
        ["softmax", "meln"],
        {"meln": (99, 3)},
    ),
    "temperature_wall": lambda ax: demos.temperature_wall(
        ax, np.linspace(-3, 3, 100), np.exp(-np.linspace(-3, 3, 100)), 10
    ),
    "landscape": lambda ax: demos.landscape(
        ax, PLANE, PLANE, np.random.rand(20, 20), RNG.normal(size=(30, 2)), np.repeat([0, 1, 2], 10)
    ),
}


@pytest.fixture
def ax():
    with plt.rc_context():
        figures.style()
        yield plt.figure().subplots()


def written(ax):
    """Draw the figure; every text that a reader sees around its Axes, then every text within them."""
    ax.figure.canvas.draw()
    around, within = [], []
    for axes in ax.figure.axes:
        if not axes.axison:
            within += axes.texts
            continue
        around += [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            around += [
                tick.label1 if tick.label1.get_visible() else tick.label2
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high
            ]
        within += [*axes.texts, *(axes.get_legend().get_texts() if axes.get_legend() else ())]
    return [text for text in around if text.get_text()], [text for text in within if text.get_text()]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# All of them


@pytest.mark.parametrize("name", GALLERY)
def test_draws_on_the_given_axes_and_returns_them(ax, name):
    assert GALLERY[name](ax) is ax
    assert ax.has_data() or ax.images


def test_every_plot_is_in_the_gallery():
    helpers = {"lines", "annotated_table"} | {"score_rows"}  # which draws on several Axes
    public = {
        name
        for module in (plots, demos)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert public == set(GALLERY) | helpers


def assert_legible(ax, smallest):
    """All text is on the page, none overlaps other text, and no legend covers the data."""
    around, within = written(ax)
    page = ax.figure.bbox.padded(2)
    for text in around + within:
        assert text.get_fontsize() >= smallest, text
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text
    boxes = [
        (text, text.get_window_extent().padded(-0.5)) for text in around + within if not text.get_rotation() % 90
    ]  # the box of a slanted label is larger than the label
    for i, (one, box) in enumerate(boxes):
        for other, its in boxes[:i]:
            assert not box.overlaps(its), (one, other)
    for axes in ax.figure.axes:
        if legend := axes.get_legend():
            assert not axes.bbox.padded(-0.5).overlaps(legend.get_window_extent())


@pytest.mark.parametrize("name", GALLERY)
def test_text_is_legible_and_does_not_overlap(ax, name):
    GALLERY[name](ax)
    assert_legible(ax, 7)


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("name", GALLERY)
def test_text_is_legible_at_the_widths_of_printed_pages(ax, name, width):
    GALLERY[name](ax)
    layout.resize(ax.figure, width)
    assert ax.figure.get_figwidth() == layout.WIDTHS[width]
    assert_legible(ax, 7)


@pytest.mark.parametrize("name", ["heatmap", "prototypes", "images", "mosaic", "class_counts"])
def test_class_names_are_text_and_start_no_formula(ax, name):
    GALLERY[name](ax)
    around, within = written(ax)
    for text in around + within:
        assert text._preprocess_math(text.get_text())[1] in (False, "TeX"), text.get_text()
        assert text.get_text().count("\n") <= {"mosaic": 3, "images": 1}.get(name, 0)
        assert len(text.get_text()) < 140


# Telling ID from OOD, and losses from each other, without colour


def test_sets_and_losses_have_a_second_cue():
    for names in (["test", "near", "letters", "patches", "noise"], [*losses.RECIPES, *losses.BEYOND]):
        styles = plots.styles(names).values()
        for cue in ("linestyle", "marker", "color", "label"):
            assert len({str(style[cue]) for style in styles}) == len(names), cue


def test_every_loss_has_a_style():
    assert list(plots.LOSS_STYLES) == list(losses.RECIPES) and list(BEYOND_STYLES) == list(losses.BEYOND)


def test_id_is_blue_whatever_its_name_and_never_a_loss_or_ood():
    styles = plots.styles(["validation", "test", "svhn", "letters", *losses.RECIPES, *losses.BEYOND])
    assert {styles[name]["color"] for name in ("validation", "test")} == {plots.ID}
    assert plots.ID not in {styles[name]["color"] for name in styles if name not in ("validation", "test")}
    for name in ("svhn", "letters"):
        red, green, blue = to_rgb(styles[name]["color"])
        assert red > green > blue


def test_runs_of_one_loss_share_its_hue_but_not_its_line():
    styles = plots.styles(["LogitNorm (τ 0.04)", "LogitNorm (τ 0.3)", "IsoMax+", "DisMax†"])
    first, second, plus, dagger = styles.values()
    assert first["color"] != second["color"] and str(first["linestyle"]) != str(second["linestyle"])
    assert first["label"] == "LogitNorm (τ 0.04)"
    assert plus["color"] == plots.LOSS_STYLES["isomaxplus"]["color"]
    assert dagger["color"] == plots.LOSS_STYLES["dismax_fpr"]["color"]


def test_histogram_tells_id_from_ood_by_filling_line_and_hatch(ax):
    plots.histogram(ax, ID_SCORES, NEAR)
    inside, outside = ax.patches
    assert labels(ax) == ["ID", "OOD"]
    assert inside.get_facecolor()[3] > 0.3 and not inside.get_hatch() and inside.get_linestyle() == "-"
    assert outside.get_facecolor()[3] < 0.1 and outside.get_hatch() and outside.get_linestyle() == "--"


# What is drawn is what was given


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_histogram_shows_shares_of_each_set(ax, dtype):
    plots.histogram(ax, ID_SCORES.astype(dtype), {"near": NEAR.astype(dtype), "noise": NOISE[:7].astype(dtype)})
    for patch in ax.patches:
        values, edges, _ = patch.get_data()
        assert values.sum() == pytest.approx(1)
        assert edges[0] == np.concatenate([ID_SCORES, NEAR, NOISE[:7]]).astype(dtype).min()


def test_histogram_of_equal_infinite_and_no_scores(ax):
    plots.histogram(ax, [3.0, 3.0], [3.0])
    assert ax.get_xlim() == (2.5, 3.5)
    ax.clear()
    plots.histogram(ax, [1.0, np.inf, 0.0], {"near": [-np.inf, 0.5], "noise": []})
    assert [patch.get_data()[0].sum() for patch in ax.patches] == [1, 1, 0]
    with pytest.raises(ValueError, match="NaN"):
        plots.histogram(ax, [np.nan], [1.0])


def test_histograms_share_their_axes_when_limits_are_given(ax):
    plots.histogram(ax, [0.2, 0.4], [0.1], limits=(0, 1))
    assert ax.get_xlim() == (0, 1)


def test_score_rows_are_the_four_rows_with_one_legend():
    axes = plt.figure().subplots(4, 1)
    rows = {f"row {k}": (ID_SCORES, {"near": NEAR}) for k in range(4)}
    assert demos.score_rows(axes, rows) is axes
    assert [ax.get_title(loc="left") for ax in axes] == list(rows)
    assert [ax.get_legend() is not None for ax in axes] == [True, False, False, False]
    with pytest.raises(ValueError):
        demos.score_rows(axes[:3], rows)


def test_norm_growth_draws_the_median_in_its_band(ax):
    plots.norm_growth(ax, HISTORY)
    assert labels(ax) == ["test (ID)", "near (OOD)", "noise (OOD)"]
    assert ax.lines[0].get_ydata()[-1] == 31 and ax.lines[2].get_ydata()[-1] == 91
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == 33 and band[:, 1].min() == 0


def test_reliability_bars_reach_the_accuracy_and_the_confidence_and_are_counted(ax):
    plots.reliability(ax, [[0.9, 0.1]] * 10 + [[0.6, 0.4], [0.2, 0.8]], [0] * 9 + [1, 0, 1], bins=5)
    many, few, gap = ax.containers
    assert [bar.get_height() for bar in many] == [pytest.approx(0.9)]
    assert [bar.get_height() for bar in few] == [1, 1]
    assert few[0].get_alpha() < many[0].get_alpha()
    assert [bar.get_y() + bar.get_height() for bar in gap] == pytest.approx([0.6, 0.8, 0.9])
    assert [text.get_text() for text in ax.texts] == ["1", "1", "10"]
    assert ax.get_title() == "ECE 5.0 %"
    assert not any(to_rgb(bar.get_edgecolor()) == to_rgb(plots.OOD) for bar in gap)  # vermillion means OOD


def test_sweep_shows_bound_and_choice(ax):
    GALLERY["sweep"](ax)
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert labels(ax) == ["lower bound", "chosen on validation: 0.1", "measured"]


@pytest.mark.parametrize("positive, order", [("id", 1), ("ood", -1)])
def test_roc_and_pr_say_their_convention_and_agree_with_scikit_learn(ax, positive, order):
    pair = (ID_SCORES, NEAR) if positive == "id" else (NEAR, ID_SCORES)
    truth = np.repeat([1, 0], [len(scores) for scores in pair])
    ranked = order * np.concatenate(pair)
    fpr, tpr, _ = roc_curve(truth, ranked, drop_intermediate=False)
    plots.roc(ax, {"softmax": (ID_SCORES, NEAR)}, positive)
    at = np.argmax(tpr >= 0.95)
    assert labels(ax) == [f"Softmax (CE): {100 * fpr[at]:.1f} %"]
    assert ax.get_legend().get_title().get_text() == f"FPR95, {positive.upper()} positive"
    curve = ax.lines[0]
    (mark,) = curve.get_markevery()
    assert curve.get_xydata()[mark] == pytest.approx((fpr[at], tpr[at]))
    assert positive.upper() in ax.get_ylabel() and "true positives" in ax.get_ylabel()
    ax.clear()
    plots.pr(ax, {"softmax": (ID_SCORES, NEAR)}, positive)
    assert labels(ax) == [f"Softmax (CE): {100 * average_precision_score(truth, ranked):.1f} %"]
    assert ax.get_legend().get_title().get_text() == f"AUPR, {positive.upper()} positive"


def test_heatmap_frames_the_best_of_each_row_and_leaves_gaps_empty(ax):
    values = [[60, 90.5, 70], [np.nan, 10, 20], [np.nan] * 3]
    plots.heatmap(ax, values, "abc", "xyz", "FPR95 in %, ID positive", best=np.nanargmin)
    assert [text.get_text() for text in ax.texts] == ["60.0", "90.5", "70.0", "10.0", "20.0"]
    assert [tuple(line.get_xydata()[0]) for line in ax.lines[::2]] == [(0, 0), (1, 1)]
    assert ax.figure.axes[1].get_ylabel() == "FPR95 in %, ID positive"


def test_seeds_show_every_seed_and_their_mean_and_of_many_the_deviation(ax):
    plots.seeds(ax, {"softmax": [1.0, 2.0, 6.0], "meln": [4.0], "isomax": [1, 2, 3, 4, 5, 6]}, "FPR95 in %")
    dots, mean = ax.lines[0], ax.containers[0]
    assert sorted(dots.get_xdata()) == [1, 2, 6]
    assert mean[0].get_xdata() == [3]
    few, one, many = ax.containers
    assert not few[2] and not one[2]
    left, right = many[2][0].get_segments()[0][:, 0]
    assert (right - left) / 2 == pytest.approx(np.std([1, 2, 3, 4, 5, 6], ddof=1))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Softmax (CE)", "MELN", "IsoMax"]


@pytest.mark.parametrize("label, end", [("AUROC in %", 100), ("norm", None)])
def test_no_whisker_leaves_the_percentages(ax, label, end):
    values = [90, 100, 100, 100, 100, 100]
    plots.seeds(ax, {"softmax": values}, label)
    left, right = ax.containers[0][2][0].get_segments()[0][:, 0]
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert left == pytest.approx(mean - deviation) and right == pytest.approx(end or mean + deviation)
    assert (ax.get_xlim()[1] <= 100) == bool(end)


def test_curves_over_epochs_are_on_a_logarithmic_axis_that_begins_with_0(ax):
    plots.norm_growth(ax, HISTORY)
    assert ax.get_xscale() == "symlog"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "5", "10", "20"]


def test_lines_of_several_trainings_are_their_mean_with_a_dot_for_each(ax):
    plots.lines(ax, [1, 2], {"softmax": [[1, 3], [5, 5]]})
    dots, line = ax.lines
    assert dots.get_xydata().tolist() == [[1, 1], [1, 3], [2, 5], [2, 5]]
    assert line.get_ydata().tolist() == [2, 5]


def test_names_of_scores_become_words(ax):
    plots.heatmap(ax, [[1.0, 2.0]], ["letters"], ["max_logit", "knn"], "AUROC in %")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["largest logit", "k nearest neighbors"]
    ax.clear()
    assert plots.histogram(ax, ID_SCORES, NEAR, xlabel="msp").get_xlabel() == "MSP"


def test_widths_and_heights_of_printed_figures():
    for size, width, expected in (
        ((5, 3.2), "column", (3.25, 2.6)),
        ((10, 3), "page", (6.75, 3)),
        ((6, 9), 3, (3, 4.5)),
    ):
        fig = plt.figure(figsize=size)
        layout.resize(fig, width)
        assert tuple(fig.get_size_inches()) == pytest.approx(expected)
    with pytest.raises(ValueError, match="unknown width 'wide'; known: column, text, page"):
        layout.resize(fig, "wide")


def test_no_line_goes_through_the_pole_of_the_temperature(ax):
    GALLERY["temperature_wall"](ax)
    left, right = ax.lines[:2]
    assert max(left.get_xdata()) < 0 < min(right.get_xdata())


def test_seeds_of_one_variant_share_its_color(ax):
    styles = plots.styles(["MELN, as written, seed 0", "MELN, as written, seed 1", "MELN, T > 0, seed 0"])
    first, second, other = (style["color"] for style in styles.values())
    assert first == second != other == plots.styles(["MELN, as written", "MELN, T > 0"])["MELN, T > 0"]["color"]
    assert len({str(style["linestyle"]) for style in styles.values()}) == 3


def test_prototypes_are_compared_by_their_cosine_even_at_zero(ax):
    demos.prototypes(ax, [[3.0, 0], [0, 2.0], [0, 0]], "abc")
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.00", "0.00", "0.00", "1.00"] + ["0.00"] * 4


def test_images_of_one_and_three_channels_with_dashed_frames_for_ood(ax):
    demos.images(ax, IMAGES[:, :1], columns=4, ood=[5])
    assert len(ax.images) == 6
    (frame,) = ax.lines
    assert frame.get_linestyle() == "--" and frame.get_color() == plots.OOD
    assert tuple(frame.get_xydata()[0]) == pytest.approx((1.15, 1.1))


def test_mosaic_counts_a_class_drawn_twice_twice(ax):
    demos.mosaic(ax, IMAGES[0], ["ship", "cat", "ship", "dog"])
    assert ax.texts[0].get_text() == "2/4 “ship”\n1/4 “cat”\n1/4 “dog”"


def test_temperature_path_marks_what_is_no_temperature(ax):
    demos.temperature_path(ax, [0, 1, 2], {"free": [1, -1, -50], "positive": [1, 2, 3]})
    assert labels(ax) == ["MELN, free", "MELN, positive", "no temperature"]
    region = ax.patches[0].get_bbox()
    assert region.y1 == 0 and region.y0 <= -50


def test_class_counts_include_empty_classes(ax):
    demos.class_counts(ax, [0, 0, 2], "abc")
    assert [bar.get_width() for bar in ax.patches] == [2, 0, 1]
    assert [text.get_text() for text in ax.texts] == ["2", "0", "1"]
