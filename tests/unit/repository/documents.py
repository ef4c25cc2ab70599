"""The repository's documents, read by section, table and code block, for tests that check them."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def tracked() -> list[str]:
    """Return the repository's files, with those that git does not know yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


class Document:
    """One Markdown file."""

    def __init__(self, name: str) -> None:
        self.name, self.file = name, ROOT / name
        self.text = self.file.read_text(encoding="utf-8")
        # The same without code, in which a comment could look like a heading: as many characters.
        self.prose = re.sub(
            r"^ *```.*?^ *```$",
            lambda code: re.sub(".", " ", code[0]),
            self.text,
            flags=re.M | re.S,
        )

    def anchors(self) -> set[str]:
        """Return what a link can lead to: GitHub's names of the headings, and ``<a id>``."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        names = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        return names | set(re.findall(r'<a id="([\w-]+)"', self.prose))

    def section(self, title: str) -> str:
        """Return the text below one heading, up to the next of the same level."""
        heading = re.search(rf"^(#+) {re.escape(title)}$", self.prose, re.M)
        assert heading, f"{self.file.name} has no section {title!r}"
        end = re.compile(rf"^#{{1,{len(heading[1])}}} ", re.M).search(self.prose, heading.end())
        return self.text[heading.end() : end.start() if end else None]

    def tables(self, title: str) -> list[list[list[str]]]:
        """Return the tables below one heading, each as the cells of its rows without the head."""
        found = []
        for lines in re.findall(r"(?:^\|.*\n)+", self.section(title), re.M):
            rows = [line.strip("| ").split(" | ") for line in lines.splitlines()]
            assert set("".join(rows[1])) <= set("|- "), f"{title}: a table without a rule"
            assert {len(row) for row in rows[2:]} <= {len(rows[0]), len(rows[0]) + 1}, title
            found.append(rows[2:])
        return found

    def table(self, title: str) -> list[list[str]]:
        """Return the only table below one heading."""
        (table,) = self.tables(title)
        return table

    def fences(self, language: str, title: str = "") -> list[str]:
        """Return the code blocks of one language, with the indentation of lists taken away."""
        text = self.section(title) if title else self.text
        blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.M | re.S)
        return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in blocks]


README = Document("README.md")
API = Document("FlaskAPI/README.md")
UI = Document("DjangoUI/README.md")
APPS = {"FlaskAPI": API, "DjangoUI": UI}
