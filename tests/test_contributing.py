from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_tree_has_a_line_for_each_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.split("raywce/\n", 1)[1].split("search_spaces/", 1)[0]
    listed: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        name = line.split()[0]
        folders = folders[:depth]
        if name.endswith("/"):
            folders.append(name)
        else:
            listed.add("".join(folders) + name)
    package = ROOT / "raywce"
    assert listed == {str(path.relative_to(package)) for path in package.rglob("*.py")}
