# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's style sheet.

Colours of VMs are those of Okabe and Ito, which people with any colour vision can distinguish; failures have a cross
besides.
"""

from __future__ import annotations

SHEET = """
:root { color-scheme: light dark; --back: #fff; --card: #f6f7f8; --line: #d5d9dd; --text: #16191d; --soft: #545c66;
  --good: #00694d; --bad: #a23b00; --grid: #dde1e5;
  --works: #0072b2; --quiet: #c5e2f4; --done: #009e73; --dry: #e69f00; --early: #f0e442; --other: #9aa1a8;
  --node: #cc79a7; --experiment: #d55e00; --edge: #4b535c; --cross: #16191d; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --card: #1d2125; --line: #373e45; --text: #e8ebee; --soft: #a7b0b9;
    --good: #4fd1a5; --bad: #ff9a5c; --grid: #2d3339;
    --works: #3d9fd8; --quiet: #173c54; --other: #79818a; --edge: #aab3bc; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--back); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.2rem; margin: 0; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .35rem 0; } .soft { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
.title { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; }
.good, .bad { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); }
ul { margin: .35rem 0; padding-left: 1.2rem; } nav ul, ul.legend { list-style: none; padding: 0; display: flex;
  flex-wrap: wrap; gap: .25rem 1.2rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 1.6rem; margin: .8rem 0; } dl div { min-width: 3.5rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
td:last-child { overflow-wrap: anywhere; min-width: 6rem; }
.findings td:nth-child(2) { min-width: 11rem; } th { color: var(--soft); font-weight: 600; }
code { font-family: ui-monospace, monospace; font-size: .85em; }
td code { white-space: nowrap; } a { color: inherit; }
summary { cursor: pointer; margin-top: .9rem; font-weight: 600; }
figure { margin: .8rem 0 0; } figcaption, .legend { font-size: .8125rem; }
svg { display: block; } svg.picture { width: 100%; overflow: visible; } svg.swatch { display: inline-block;
  vertical-align: -.1em; margin-right: .35em; overflow: visible; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg .cross { fill: none; stroke: var(--cross);
  stroke-width: 1.5; pointer-events: none; }
svg line { stroke: var(--grid); } svg rect { stroke: none; }
.works { fill: var(--works); } .quiet { fill: var(--quiet); stroke: var(--works) !important; }
.done { fill: var(--done); } .dry { fill: var(--dry); }
.early { fill: var(--early); stroke: var(--edge) !important; stroke-width: .5; }
.other { fill: var(--other); } .node { fill: var(--node); } .experiment { fill: var(--experiment); }
@media (max-width: 40rem) { body { padding: .6rem; } section { padding: .7rem; } svg .minor { display: none; } }
@media print { details:not([open]) { display: none; } }
"""
