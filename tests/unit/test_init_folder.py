"""``modelyard init``: the name of a model, and its folder, which is there as a whole or not at all."""

from pathlib import Path

import pytest

from modelyard.errors import ConflictError, UsageError
from modelyard.scaffold import check_free, folder, model_name, write_folder
from tests.fakes.drafts import TABLE, drafted

# -- a model's name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("iris", "iris"),
        ("Customers (final) 2024", "customers_final_2024"),
        ("2012", "model_2012"),
        ("Größe", "grosse"),
        ("a__b--c", "a_b_c"),
        ("_x_", "x"),
        ("x" * 300, "x" * 48),
        ("y" * 47 + "-z", "y" * 47),
    ],
)
def test_a_files_name_becomes_a_models_name(file, name):
    assert model_name(None, file) == name


@pytest.mark.parametrize("file", ["", "日本", "...", "\udcff"])
def test_a_file_whose_name_says_nothing_needs_a_name(file):
    with pytest.raises(UsageError, match="nothing that a model's name can be made of") as caught:
        model_name(None, file)
    assert "--name" in str(caught.value.next_step)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\x00", "\u202eabc", "a" * 49, "Iris", "", "a-b"])
def test_a_name_that_was_given_is_taken_as_it_is_or_refused(name):
    assert model_name("given", "file") == "given"
    with pytest.raises(UsageError, match="is not a model name") as caught:
        model_name(name, "file")
    assert caught.value.exit_code == 2


def test_a_name_with_capitals_is_answered_with_one_that_works():
    with pytest.raises(UsageError) as caught:
        model_name("My-Model", "file")
    assert caught.value.next_step == "Give another with --name, like my_model."


# -- the folder -------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_there_in_any_case_is_left_alone(tmp_path):
    (tmp_path / "Drafted").mkdir()
    for attempt in (lambda: check_free(tmp_path, "drafted"), lambda: write_folder(drafted(TABLE), tmp_path)):
        with pytest.raises(ConflictError, match="models/Drafted is there already") as caught:
            attempt()
        assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["Drafted"]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["load_model", "render_example", "check_free"])
def test_what_ends_it_in_the_middle_leaves_nothing(tmp_path, monkeypatch, step, end):
    def ends(*_: object) -> None:
        raise end

    monkeypatch.setattr(folder, step, ends)
    with pytest.raises(type(end)):
        write_folder(drafted(TABLE), tmp_path / "models")
    assert not list(tmp_path.glob("models/*"))


def test_of_two_at_once_one_wins_and_the_other_is_told(tmp_path, monkeypatch):
    def somebody_else(models: Path, name: str) -> None:
        (models / name).mkdir()
        (models / name / "model.toml").write_text("theirs")

    monkeypatch.setattr(folder, "check_free", somebody_else)
    with pytest.raises(ConflictError, match="models/drafted is there already"):
        write_folder(drafted(TABLE), tmp_path)
    assert (tmp_path / "drafted" / "model.toml").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["drafted"]
