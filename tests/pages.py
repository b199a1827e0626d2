"""Reading pages strictly."""

from __future__ import annotations

import html.parser
import re

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: every tag that is opened is closed, in order."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is given twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def assert_asks_for_nothing(markup: str) -> None:
    """Fails where a page would ask for anything that is not inside it, or run a script."""
    read = Reader(markup)
    assert "default-src 'none'" in str(read.all("meta"))
    resources = [
        value or ""
        for _, given in read.attributes
        for name, value in given.items()
        if name in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert all(each.startswith(("#", "data:image/png;base64,")) for each in resources)
    style = "".join(each for each in re.findall(r"<style>(.*?)</style>", markup, flags=re.DOTALL))
    assert not re.search(r"url\(|@import", style)
    assert not re.search(r"<(script|iframe|object|embed|link|base)\b", markup)
