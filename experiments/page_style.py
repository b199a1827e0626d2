"""The style of the pages: light and dark, narrow and wide, on paper."""

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d5d9de;
  --shade: #f4f6f8; --accent: #0072b2; --warn: #d55e00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181d; --ink: #e4e8ec; --soft: #9aa5b1; --line: #363d46;
    --shade: #1d232a; --accent: #56b4e9; --warn: #e69f00;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line);
}
p, li, dd { overflow-wrap: anywhere; }
p, ul { max-width: 46rem; }
header p { font-size: 1.1rem; }
a { color: var(--accent); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0; }
.note {
  border-left: 0.25rem solid var(--warn); background: var(--shade); padding: 0.6rem 0.9rem;
}
dl { margin: 1rem 0; }
dl div {
  display: grid; grid-template-columns: minmax(8rem, 15rem) 1fr; gap: 0.1rem 1rem;
  padding: 0.35rem 0; border-bottom: 1px solid var(--line);
}
dt { color: var(--soft); }
dd { margin: 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 60%; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.4rem; }
th, td {
  text-align: left; padding: 0.4rem 0.6rem; border-bottom: 1px solid var(--line);
  vertical-align: top;
}
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; white-space: nowrap; }
tbody th { font-weight: 500; }
.words { min-width: 8rem; }
tbody tr:nth-child(even) { background: var(--shade); }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1.25rem 0; }
img {
  max-width: 100%; max-height: 46rem; width: auto; height: auto; display: block;
  background: #ffffff; border: 1px solid var(--line); border-radius: 4px;
}
figcaption { color: var(--soft); font-size: 0.92rem; margin-top: 0.4rem; max-width: 46rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
@media (max-width: 34rem) {
  main { padding: 1rem 0.9rem 3rem; }
  h1 { font-size: 1.45rem; }
  dl div { grid-template-columns: 1fr; }
  th, td { padding: 0.35rem 0.5rem; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --shade: #f4f4f4;
    --accent: #000000; --warn: #666666;
  }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  .scroll { overflow: visible; }
  figure, tr, .note { break-inside: avoid; }
  h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
}
"""
