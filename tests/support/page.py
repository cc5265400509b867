"""Reading a page as a parser sees it: tags, attributes, text, and whether everything that opens closes."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["Page", "read"]

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects `tags` (name, attributes), `words` by the id of the section they are in, and `faults`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.open: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1][0] if self.open else 'nothing'} at {self.getpos()}")
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        place = next((name for tag, name in reversed(self.open) if tag == "section"), None)
        self.words.setdefault(place or "", []).append(data)

    def text(self, section: str | None = None) -> str:
        """The words of one section, or of the whole page, with single blanks."""
        found = self.words.get(section, []) if section is not None else [w for part in self.words.values() for w in part]
        return " ".join(" ".join(found).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def _take(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> has an attribute twice at {self.getpos()}")
        self.tags.append((tag, dict(attrs)))


def read(html: str) -> Page:
    """The page of a text; what is left open counts as a fault."""
    page = Page()
    page.feed(html)
    page.close()
    page.faults += [f"<{tag}> is never closed" for tag, _ in page.open]
    return page
