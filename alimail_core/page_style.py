"""How the report looks: on a screen by day and by night, on a phone, on paper. Nothing in it loads anything."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --text: #1d2733; --quiet: #52606d; --page: #fff; --line: #d5dbe1; --soft: #f4f6f8;
  --ok: #1a7f4b; --note: #2f6299; --warning: #9a5f00; --fault: #b3261e; --area: #cfe3d8; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e9ee; --quiet: #a3b0bd; --page: #14191f; --line: #36414c;
  --soft: #1d242c; --ok: #59c98d; --note: #7fb2ea; --warning: #e2ae55; --fault: #ff8f85; --area: #1f4a35; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; color: var(--text);
  background: var(--page); max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; } h2 { font-size: 1.25rem; margin: 3rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .25rem; } p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--note); } code, pre { font: .86em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); padding: .75rem 1rem; white-space: pre-wrap; border-radius: .25rem; }
.quiet, caption, figcaption { color: var(--quiet); }
.answer { font-size: 1.25rem; padding: .7rem 1rem; margin: 1rem 0; max-width: none; background: var(--soft);
  border-left: .4rem solid; border-radius: .25rem; }
.answer.ok, .bar .ok { border-color: var(--ok); fill: var(--ok); }
.answer.note, .bar .note { border-color: var(--note); fill: var(--note); }
.answer.warning, .bar .warning { border-color: var(--warning); fill: var(--warning); }
.answer.fault, .bar .fault { border-color: var(--fault); fill: var(--fault); }
b.ok { color: var(--ok); } b.note { color: var(--note); } b.warning { color: var(--warning); }
b.fault { color: var(--fault); }
.sums { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.sums div { background: var(--soft); border-radius: .25rem; padding: .5rem .8rem; }
.sums dt { color: var(--quiet); font-size: .85rem; }
.sums dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.sums dd small { display: block; font-size: .85rem; color: var(--quiet); }
figure { margin: 1.25rem 0; } figcaption { margin-top: .3rem; font-size: .9rem; }
.bar { display: block; width: 100%; height: .8rem; }
.plot { display: grid; grid-template-columns: auto 1fr; gap: .2rem .6rem; font-size: .85rem; color: var(--quiet);
  font-variant-numeric: tabular-nums; }
.plot svg { width: 100%; height: 9rem; border-left: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.plot .y { display: flex; flex-direction: column; justify-content: space-between; text-align: right; }
.plot .x { grid-column: 2; display: flex; justify-content: space-between; gap: 1rem; }
.plot .x :last-child { text-align: right; }
.area { fill: var(--area); }
.line { fill: none; stroke: var(--ok); stroke-width: 2; vector-effect: non-scaling-stroke; }
.goal { fill: none; stroke: var(--quiet); stroke-dasharray: 4 4; vector-effect: non-scaling-stroke; }
ol, ul { padding-left: 1.4rem; margin: .4rem 0; } li { margin: .25rem 0; max-width: 46rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.25rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; font-size: .9rem; }
th, td { padding: .35rem .7rem .35rem 0; vertical-align: top; text-align: left;
  border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--quiet); border-bottom-width: 2px; } tbody th { font-weight: 400; }
.number { text-align: right; } th:last-child, td:last-child { padding-right: 0; }
dl.words dt { font-weight: 600; margin-top: .5rem; } dl.words dd { margin: 0; max-width: 46rem; }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--line); color: var(--quiet);
  font-size: .9rem; }
@media screen and (max-width: 40rem) {
  body { padding: 1rem .9rem 2rem; font-size: 14px; } .sums { grid-template-columns: 1fr 1fr; gap: .5rem; }
  h2 { margin-top: 2.25rem; } nav ul { display: block; }
  table, caption, tbody, tr, th, td { display: block; } thead { position: absolute; clip-path: inset(50%); }
  tr { border-top: 1px solid var(--line); padding: .45rem 0; } tbody th, td { border: 0; padding: .05rem 0; }
  tbody th { font-weight: 600; } th .quiet { font-weight: 400; } td.number { text-align: left; }
  td:empty { display: none; }
  td::before { content: attr(data-label) ": "; color: var(--quiet); }
  td.number div, td > div:first-child { display: inline; } td.number div + div::before { content: ", "; }
}
@media print {
  :root { color-scheme: light; --text: #000; --quiet: #444; --page: #fff; --line: #bbb; --soft: #f4f6f8;
    --ok: #1a7f4b; --note: #2f6299; --warning: #9a5f00; --fault: #b3261e; --area: #cfe3d8; }
  @page { margin: 15mm; }
  body { font-size: 10pt; padding: 0; max-width: none; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table { font-size: 8.5pt; line-height: 1.35; } nav { display: none; } a { color: inherit; text-decoration: none; }
  thead { display: table-header-group; } tr, caption, figure, .sums, .answer, li { break-inside: avoid; }
  caption { font-size: 8.5pt; } section > p, pre { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; } h2 { margin-top: 1.25rem; } #accounts, #proof { break-before: page; }
  .plot svg { height: 6.5rem; }
}
"""
