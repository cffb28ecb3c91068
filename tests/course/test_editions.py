"""Students' and teachers' notebooks, and what must never happen to them."""

import json
import os
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from ood_helpers.course.editions import books, write_editions

ROOT = Path(__file__).parents[2]
BOOKS = {book.stem: book for book in books(ROOT / "notebooks")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    target = tmp_path_factory.mktemp("course")
    for book in BOOKS.values():
        write_editions(book, target)
    return target


@pytest.mark.parametrize("stem", BOOKS)
def test_students_get_blanks_without_solutions_and_outputs_and_teachers_get_all(made, stem):
    student, teacher = (nbformat.read(made / kind / f"{stem}.ipynb", 4) for kind in ("student", "teacher"))
    nbformat.validate(student)
    source = json.dumps(BOOKS[stem].cells).replace("](../figures/", "](../../figures/")
    answers = [cell for cell in teacher.cells if cell.metadata.get("tags") == ["answers"]]
    assert [cell for cell in teacher.cells if cell not in answers] == json.loads(source)
    assert [cell.source for cell in answers] == [BOOKS[stem].answers]
    solutions = [cell for cell in BOOKS[stem].cells if "solution" in cell.metadata.get("tags", ())]
    wanted = [cell.id for cell in BOOKS[stem].cells if cell not in solutions]
    assert [cell.id for cell in student.cells] == wanted and solutions
    code = [cell for cell in student.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    text = (made / f"student/{stem}.ipynb").read_text(encoding="utf-8")
    assert not [cell.id for cell in solutions if json.dumps(cell.source.strip())[1:-1] in text]


@pytest.mark.parametrize("stem", BOOKS)
def test_a_notebook_has_a_title_a_question_and_questions_for_the_room(stem):
    book = BOOKS[stem]
    assert book.title and "\n" not in book.title and "?" in book.question
    assert sum("questions" in cell.metadata.get("tags", ()) for cell in book.cells) == 1


@pytest.mark.parametrize("stem", BOOKS)
def test_every_question_for_the_room_has_its_answer_minutes_and_what_to_do_if_it_fails(stem):
    (asked,) = (cell.source for cell in BOOKS[stem].cells if "questions" in cell.metadata.get("tags", ()))
    numbers = re.findall(r"^(\d+)\. ", asked, re.M)
    sections = dict(re.findall(r"^### Question (\d+)\n((?:(?!###).*\n?)*)", BOOKS[stem].answers, re.M))
    assert numbers and numbers == list(sections)
    for number, text in sections.items():
        for part in ("Answer", "Often said", "If it fails", "Minutes"):
            assert f"**{part}.** " in text, (number, part)


def test_no_notebooks_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no notebook in"):
        books(tmp_path)


@pytest.fixture
def book(tmp_path):
    """A notebook with one exercise."""
    cells = [
        nbformat.v4.new_markdown_cell("# 1. Title\n\n**Question.** Why?"),
        nbformat.v4.new_code_cell("answer = ..."),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_title.ipynb")
    (book,) = books(tmp_path)
    return book


def answer(path, text):
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source = text
    nbformat.write(notebook, path)


def test_an_answered_notebook_is_never_overwritten(book, tmp_path, capsys):
    path = tmp_path / "course/student/01_title.ipynb"
    write_editions(book, tmp_path / "course")
    answer(path, "answer = 42")
    answered = path.read_bytes()
    write_editions(book, tmp_path / "course")  # nothing new: nothing is written
    assert path.read_bytes() == answered and len(list(path.parent.iterdir())) == 1 and capsys.readouterr().out == ""
    for number, new in ((2, "second"), (3, "third")):
        book.cells[1].source = f"{new} = ..."
        write_editions(book, tmp_path / "course")
        assert path.read_bytes() == answered
        assert f"is left as it is; the new version is 01_title_{number}.ipynb" in capsys.readouterr().out
        later = path.with_name(f"01_title_{number}.ipynb")
        assert f"{new} = ..." in later.read_text()
        answer(later, "answer = 43")


def test_a_notebook_of_unknown_origin_counts_as_answered(book, tmp_path):
    path = tmp_path / "course/student/01_title.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(book.path.read_bytes())
    before = path.read_bytes()
    write_editions(book, tmp_path / "course")
    assert path.read_bytes() == before and path.with_name("01_title_2.ipynb").exists()


def test_a_notebook_that_was_only_run_is_replaced_by_a_new_version(book, tmp_path, capsys):
    path = tmp_path / "course/student/01_title.ipynb"
    write_editions(book, tmp_path / "course")
    notebook = nbformat.read(path, 4)
    notebook.cells[1].outputs = [new_output("stream", name="stdout", text="ran\n")]
    nbformat.write(notebook, path)
    book.cells[1].source = "new = ..."
    write_editions(book, tmp_path / "course")
    assert "new = ..." in path.read_text() and len(list(path.parent.iterdir())) == 1
    assert capsys.readouterr().out == ""


def test_the_sheet_for_thirty_students_starts_a_server_for_each_also_as_root(tmp_path):
    (snippet,) = re.findall(r"```sh\n(  for k in .*?)  ```", (ROOT / "notebooks/README.md").read_text(), re.S)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "course/student").mkdir(parents=True)
    (tmp_path / "course/student/01_title.ipynb").write_text("{}")
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$RUNS" "$@"\n')
    python.chmod(0o755)
    for _ in range(2):  # the second time nobody's work is overwritten
        subprocess.run(["bash", "-c", f"{snippet.replace('1 30', '1 2')}\nwait"], cwd=tmp_path, check=True)
        (tmp_path / "course/class/1/01_title.ipynb").write_text("answered")
    assert (tmp_path / "course/class/1/01_title.ipynb").read_text() == "answered"
    for k in (1, 2):
        said = (tmp_path / f"course/class/{k}/log").read_text()
        assert said.startswith(f"{tmp_path}/runs -m jupyterlab") and f"--port={8800 + k}" in said
        assert f"--ServerApp.root_dir=course/class/{k}" in said and ("--allow-root" in said) == (os.getuid() == 0)


def test_lesson_plans_add_up_and_leave_a_fifth_free():
    text = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
    rows = [line.strip("|\n").split("|") for line in text[text.index("| 01 overconfidence") :].splitlines()]
    rows = {row[0].strip(): row[1:] for row in rows[: next(k for k, row in enumerate(rows) if "needs" in row[0])]}
    total, free = rows.pop("sum"), rows.pop("free")
    for column, minutes in enumerate((45, 90, 180)):
        parts = [int(n) for row in rows.values() for n in re.findall(r"\d+", row[column])]
        assert sum(parts) == int(total[column]) and int(total[column]) + int(free[column]) == minutes
        assert 5 * int(free[column]) >= minutes
    for row, by_plan in rows.items():
        if row[:2].isdigit():  # the longest form of a part is that of the teacher's notes
            notes = next((ROOT / "notebooks/teaching").glob(f"{row[:2]}_*.md")).read_text(encoding="utf-8")
            assert f"The lesson takes {by_plan[-1].split()[0].strip(',')} minutes" in notes
