import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ssl4rl import Ssl4rlError, create_dataset
from ssl4rl.core import registry
from tests.fakes import FAKES

PHOTOS = Path(registry.__file__).parents[1] / "embedded" / "photos"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Entry points: the fakes, and four that are broken in different ways."""
    (tmp_path / "raises.py").write_text("raise RuntimeError('no luck')")
    (tmp_path / "exits.py").write_text("import sys; sys.exit(3)")
    (tmp_path / "listed.py").write_text("TASKS = ['a']")
    values = {"fakes": "tests.fakes:TASKS", "gone": "gone:TASKS"}
    values |= {name: f"{name}:TASKS" for name in ("raises", "exits", "listed")}
    points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
    registry.plugins.cache_clear()
    yield tmp_path
    registry.plugins.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_broken_plugin_is_reported_and_the_rest_goes_on() -> None:
    assert registry.task_names() == ["fakes/letter", "fakes/pair", "fakes/picture"]
    assert {name: plugin.broken for name, plugin in registry.plugins().items()} == {
        "exits": "exits:TASKS: SystemExit: 3",
        "fakes": None,
        "gone": "gone:TASKS: ModuleNotFoundError: No module named 'gone'",
        "listed": "listed:TASKS: TypeError: TASKS is a list; allowed: a mapping",
        "raises": "raises:TASKS: RuntimeError: no luck",
    }


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fakes/leter", "unknown task 'fakes/leter'; did you mean 'fakes/letter'?"),
        ("leter", "unknown task 'leter'; did you mean 'fakes/letter'?"),
        ("letter", "unknown task 'letter'; did you mean 'fakes/letter'?"),
        ("", "unknown task ''; allowed: fakes/letter, fakes/pair, fakes/picture"),
        ("raises/x", "plugin 'raises' cannot be loaded: raises:TASKS: RuntimeError: no luck"),
        ("./gone.py:TASKS", "plugin file './gone.py' does not exist"),
        (f"{FAKES}:TASKS", f"'{FAKES}' has no task 'TASKS'; name one of: letter, pair, picture"),
    ],
)
def test_an_unknown_task_is_explained(name: str, message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        registry.resolve(name)
    assert str(error.value) == message


@pytest.mark.usefixtures("installed")
def test_tasks_by_name_and_by_file() -> None:
    assert registry.resolve("fakes/letter")[0].name == "fakes/letter"
    assert registry.resolve(f"{FAKES}:pair")[0].name == "fakes/pair"
    assert registry.expand(f"{FAKES}:TASKS") == [f"{FAKES}:letter", f"{FAKES}:pair", f"{FAKES}:picture"]
    assert registry.expand("fakes/letter") == ["fakes/letter"]


def plugin_file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


BROKEN_FILES = {
    "raises": ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(2)", "cannot be loaded: SystemExit: 2"),
    "syntax": ("def (", "cannot be loaded: SyntaxError"),
    "no_table": ("x = 1", "cannot be loaded: AttributeError: module 'no_table' has no attribute 'TASKS'"),
    "no_class": ("TASKS = {'a': 3}", "is no Task class but 3"),
    "lazy": (
        "TASKS = {'a': 'nowhere:A'}",
        "'nowhere:A' cannot be loaded: ModuleNotFoundError: No module named 'nowhere'",
    ),
    "abstract": ("from ssl4rl import Task\nclass A(Task): pass\nTASKS = {'a': A}", "cannot be made: Can't instantiate"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_is_explained(tmp_path: Path, name: str) -> None:
    text, message = BROKEN_FILES[name]
    path = plugin_file(tmp_path, f"{name}.py", text)
    with pytest.raises(Ssl4rlError) as error:
        registry.resolve(f"{path}:a")
    assert message in str(error.value)
    assert (name in sys.modules) == (name in ("no_class", "lazy", "abstract"))
    sys.modules.pop(name, None)


def test_a_file_may_name_itself_lazily_and_never_replaces_a_module(tmp_path: Path) -> None:
    source = Path(FAKES).read_text() + "\nTASKS = {'letter': 'fakes_lazy:Letter'}"
    assert registry.resolve(f"{plugin_file(tmp_path, 'fakes_lazy.py', source)}:TASKS")[0].name == "fakes/letter"
    json = sys.modules["json"]
    registry.resolve(f"{plugin_file(tmp_path, 'json.py', Path(FAKES).read_text())}:letter")
    assert sys.modules["json"] is json


def test_sources() -> None:
    plugin = registry.file_plugin(FAKES)
    source = registry.open_source("words:a,b", plugin)
    assert (len(source), source.uri) == (2, "words:a,b")
    assert registry.open_source("endless:", plugin).uri == "endless:"
    bare = registry.Plugin("bare")
    with pytest.raises(Ssl4rlError, match="unknown kind of source 'wrods:' in 'wrods:a'"):
        registry.open_source("wrods:a", bare)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("photos/", "this task cannot read plain paths; allowed: layers:, rgbd:"),
        ("sample:", "this task cannot read sample:; allowed: layers:, rgbd:"),
        ("rgdb:x", "this task cannot read rgdb:; did you mean 'rgbd:'?"),
    ],
)
def test_a_task_that_reads_some_kinds_alone_names_these(uri: str, said: str) -> None:
    with pytest.raises(Ssl4rlError) as caught:
        create_dataset("vision/depth_order", uri)
    assert str(caught.value) == f"{uri!r}: {said}"
    assert create_dataset("vision/depth_order", "layers:")[0].answer
    registry.require_kind(uri, ())


def test_a_file_without_a_table_is_told_how() -> None:
    with pytest.raises(Ssl4rlError, match=r"'./my.py' is a file; name its table .*, as in './my.py:TASKS'"):
        registry.resolve("./my.py")


def test_a_plain_path_is_read_by_the_modality_of_the_tasks_own_data(tmp_path: Path) -> None:
    """A file of tasks without sources: photos/ is pictures where the task stands on pictures."""
    for name in ("cat", "coffee"):
        shutil.copy(PHOTOS / f"{name}.jpg", tmp_path)
    bare = registry.Plugin("bare")
    pictures = registry.open_source(str(tmp_path), bare, "sample:")
    assert [item.name for item in (pictures[0], pictures[1])] == ["cat.jpg", "coffee.jpg"]
    with pytest.raises(Ssl4rlError):
        registry.open_source(str(tmp_path), bare, "sbm:")
    table = tmp_path / "edges.csv"
    table.write_text("source,target\na,b\nb,c\nc,a\n")
    assert len(registry.open_source(str(table), bare, "sbm:")) == 3


@pytest.mark.parametrize("path", ["photos/", "/tmp/a:b", "./x:y/z"])
def test_a_plain_path_means_a_plugins_own_items(path: str) -> None:
    """A plugin with sources must not be handed another modality's, one without may borrow."""
    with pytest.raises(Ssl4rlError, match="fakes tasks read no plain paths"):
        registry.open_source(path, registry.file_plugin(FAKES))
