import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_tree_has_a_line_for_each_folder_and_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.split("raywce/\n", 1)[1].split("search_spaces/", 1)[0]
    listed = [line.split("  ")[1].strip() for line in tree.splitlines()]
    package = ROOT / "raywce"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert {name for name in listed if name.endswith("/")} == folders
    for line in tree.splitlines():
        folder = package / line.split()[0] if line.split()[0].endswith("/") else package
        for name in re.findall(r"\b\w+\.py\b", line):
            assert (folder / name).is_file(), f"{folder}/{name}"
