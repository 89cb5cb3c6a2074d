"""The survey as CSV: a row per file, the unreadable ones too."""

import csv
import io

from atlas.relate import Survey

COLUMNS = (
    "path", "module", "lines", "code_lines", "classes", "functions", "complexity",
    "most_complex", "its_complexity", "imports", "error", "reason",
)  # fmt: skip


def as_csv(survey: Survey) -> str:
    rows = []
    for file in survey.files:
        worst = max(file.functions, key=lambda function: function.complexity, default=None)
        peak = (worst.name, worst.complexity) if worst else ("", "")
        counts = (file.lines, file.code_lines, file.classes, len(file.functions), file.complexity)
        rows.append((file.path, file.module, *counts, *peak, len(file.imports), "", ""))
    for lost in survey.unread:
        rows.append((lost.path, *[""] * 9, lost.error, lost.reason))
    rows.sort(key=lambda row: row[0])
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
