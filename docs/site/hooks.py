"""Makes MkDocs read the lists of the pages as a code host does, by the rules of CommonMark."""

import re

MARKER = re.compile(r"(?:[-*+]|\d{1,9}[.)]) +")
FENCE = re.compile(r"```|~~~")


def on_page_markdown(markdown, **_):
    return "\n".join(with_wide_indents(markdown.split("\n")))


def with_wide_indents(lines):
    """Python-Markdown needs four columns per level of a list; in CommonMark the column of the item's text decides."""
    columns = []
    fence = None
    after_blank = True
    for line in lines:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        item = None if fence else MARKER.match(text)
        mark = FENCE.match(text)
        # A line that is less indented continues the paragraph above, unless a blank line, an item or a block ends it.
        while text and not fence and columns and indent < columns[-1] and (after_blank or item or mark):
            columns.pop()
        rest = line[min(indent, columns[-1] if columns else 0) :]
        yield " " * (4 * len(columns)) + rest if text else ""
        after_blank = not text
        if item:
            columns.append(indent + item.end())
        elif mark:
            fence = None if fence == mark[0] else fence or mark[0]
