from __future__ import annotations

import os
from pathlib import Path

from bench.machine.closure import distribution_files, project_dependencies, tree, with_libraries, with_requirements


def test_a_program_comes_with_its_libraries_and_its_loader() -> None:
    files = with_libraries([Path("/usr/bin/python3")])
    names = {file.name for file in files}
    assert {"python3", "libc.so.6"} <= names
    assert any(name.startswith("ld-linux") for name in names)
    assert Path(os.path.realpath("/usr/bin/python3")) in files


def test_links_come_with_what_they_point_to_and_directories_that_are_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "real/link").symlink_to("file")
    (tmp_path / "alias").symlink_to("real")
    files = with_libraries([tmp_path / "alias/link"])
    assert {tmp_path / "alias", tmp_path / "real/link", tmp_path / "real/file"} <= set(files)


def test_a_tree_leaves_out_directories_by_name(tmp_path: Path) -> None:
    for name in ("kept/file", "test/file"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    assert tree(tmp_path, without=["test"]) == [tmp_path / "kept", tmp_path / "kept/file"]


def test_a_distribution_comes_with_its_metadata_but_not_its_scripts() -> None:
    files = distribution_files(["pytest"])
    assert Path("pytest/__init__.py") in files
    assert any(name.match("pytest-*.dist-info/METADATA") for name in files)
    assert all(not str(name).startswith("..") and file.exists() for name, file in files.items())


def test_the_project_s_dependencies_come_with_what_they_need_themselves(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "x"\ndependencies = ["cryptography>=45,<60", "pytest"]\n')
    assert project_dependencies(project) == ["cryptography", "pytest"]
    assert {"cffi", "cryptography", "iniconfig", "pluggy", "pytest"} <= set(
        with_requirements(["cryptography", "pytest"])
    )
