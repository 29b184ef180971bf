"""The page of the report, for jinja2. No script, no font, no link: it can be mailed and kept."""

# By this a report is known for one, and may be written anew.
MARK = "abundant report"

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="{{ mark }}">
<title>{{ title }}: catalog report</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #555; --line: #ddd; --paper: #fff; --card: #f5f6f8;
  --bad: #a33c00; --warn: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #b0b0b0; --line: #444; --paper: #16181c;
  --card: #22252b; --bad: #ff9d66; --warn: #f0bf4c; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1160px;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.6rem 0 .8rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.4rem 0 .3rem; font-size: 1rem; }
.remark { color: var(--soft); font-size: 14px; max-width: 75ch; }
.path, dd { overflow-wrap: anywhere; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .7rem;
  margin: 1.4rem 0; padding: 0; list-style: none; }
.numbers li { background: var(--card); border-radius: 8px; padding: .6rem .9rem; }
.numbers b { display: block; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.numbers span { color: var(--soft); font-size: 13px; display: block; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); gap: .2rem 1.2rem; }
dt { color: var(--soft); } dd { margin: 0; }
.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; font-size: 14px; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; }
th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
th.text, td.text { text-align: left; }
td.long { text-align: left; white-space: normal; min-width: 26rem; overflow-wrap: anywhere; }
.bad { color: var(--bad); font-weight: 600; } .warn { color: var(--warn); font-weight: 600; }
.pair, .panels { display: grid; gap: .8rem; margin: .8rem 0; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); }
.panels { grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .4rem;
  display: flex; justify-content: center; align-items: center; }
img { max-width: 100%; height: auto; display: block; }
@media (max-width: 480px) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .5rem; }
  .numbers { grid-template-columns: 1fr 1fr; } .numbers b { font-size: 1.25rem; }
  figure { padding: .15rem; }
}
@media print { body { max-width: none; } figure { break-inside: avoid; } }
</style>
</head>
<body>
{% macro table(heads, rows, texts, longs=[]) %}
<div class="table" tabindex="0"><table>
<thead><tr>
{% for head in heads %}
<th scope="col"{% if loop.index0 in texts or loop.index0 in longs %} class="text"{% endif %}>{{ head }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{% for cell in row %}
{% set kind = "long" if loop.index0 in longs else "text" if loop.index0 in texts else "" %}
{% set mood = " " ~ cell if cell in ("bad", "warn") else "" %}
<td{% if kind %} class="{{ kind }}{{ mood }}"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro figures_of(section, kind) %}
{% if section in absent %}<p class="remark">{{ absent[section] }}</p>{% endif %}
{% if section in figures %}
<div class="{{ kind }}">
{% for alt, width, height, image in figures[section] %}
<figure><img width="{{ width }}" height="{{ height }}" alt="{{ alt }}"
src="data:image/png;base64,{{ image }}"></figure>
{% endfor %}
</div>
{% endif %}
{% endmacro %}
<header>
<h1>{{ title }}</h1>
<p class="remark path">Report on a catalog of Abundant: {{ path }}</p>
</header>
<main>
<ul class="numbers">
{% for name, value, more in headline %}
<li><span>{{ name }}</span><b>{{ value }}</b><span>{{ more }}</span></li>
{% endfor %}
</ul>
<p class="remark">Every row is exactly one of ok, flagged (flag_warn or flag_bad) and no result. Below, a row
is <em>good</em> for a label if the label is known and inside its training range, and the row is not flag_bad:
<code>good('teff')</code> in SQL. Good rows may carry flag_warn.</p>

<h2>What this is</h2>
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>

<h2>Flags</h2>
{% if flags %}
{{ table(["flag", "severity", "rows", "share", "meaning"], flags, [0, 1], [4]) }}
<p class="remark">Flags that no row carries are left out. A row may carry several.</p>
{% else %}
<p class="remark">No row carries a flag.</p>
{% endif %}

<h2>Kiel diagram</h2>
{{ figures_of("kiel", "pair") }}
{% if "kiel" in figures %}
<p class="remark">Good rows in cells{% if metallicity %}: first the median metallicity of each cell (the scale
holds 96 % of the cells), then how many there are{% endif %}. Dashed: the training range, where it is in view.
“Beyond” are rows outside the axes.</p>
{% endif %}

<h2>Abundance ratios</h2>
{{ figures_of("ratios", "panels") }}
{% if "ratios" in figures %}
<p class="remark">Rows that are good in all labels concerned. A ratio that the catalog has no column for is
[X/H] − [Fe/H], star by star.</p>
{% endif %}

<h2>Sky</h2>
{{ figures_of("sky", "pair") }}
{% if "sky" in figures %}
<p class="remark">All rows with a position ({{ "{:,}".format(nowhere) }} have none), ICRS; right ascension
grows to the left. Dashed: the plane of the Galaxy.</p>
{% endif %}

<h2>Errors along S/N</h2>
{{ figures_of("errors", "panels") }}
{% if "errors" in figures %}
<p class="remark">Good rows. Line and shade: median and 16 to 84 % of the 1-sigma error <code>e_x</code>,
which is calibrated where the bundle was. Dashed: median spread over the draws (<code>e_x_model</code>).
Dotted: median noise that the network predicts (<code>e_x_noise</code>), where it does. Bins of fewer than
20 rows are left out.</p>
{% endif %}

<h2>Outcomes along S/N</h2>
{{ figures_of("outcomes", "pair") }}
{% if outcomes %}
<p class="remark">All rows; those beyond the axis count in the outermost bins.
{{ "{:,}".format(outcomes.unknown) }} rows have no S/N above 0 and are not shown.</p>
{% endif %}

<h2>Coverage of the training range</h2>
{{ figures_of("coverage", "panels") }}
{% if coverage %}
{{ table(["label", "", "unit", "rows", "from", "to", "below", "inside", "above", "in use"], coverage,
[0, 1, 2]) }}
<p class="remark">Rows that are not flag_bad. From and to: the ends of the training range as the bundle's
card has them (dashed), a dash where it says nothing. In use: how much of that range, cut into 20 equal
steps, holds a row at all. Hatched: outside.</p>
{% endif %}

<h2>Failures</h2>
<h3>Tasks that failed</h3>
{% if failures %}
{{ table(["reason", "tasks", "rows", "for example"], failures, [], [0, 3]) }}
{% else %}
<p class="remark">No task failed.</p>
{% endif %}
{% if unreadable %}
<h3>Files that could not be read</h3>
{{ table(["reason", "tasks", "rows", "for example"], unreadable, [], [0, 3]) }}
{% endif %}
{% if no_result %}
<h3>Why rows have no result</h3>
{{ table(["flags", "in tasks", "rows"], no_result | map("batch", 3) | map("first") | list, [], [0]) }}
{% endif %}

<h2>Where the time went</h2>
{% if speed %}
{% for sentence in verdict %}
<p>{{ sentence }}</p>
{% endfor %}
{{ figures_of("time", "pair") }}
{{ table(["stage", "seconds of work", "share", "rows/s of one worker", "ms per row"], speed, [0]) }}
{% if commit %}
{{ table(["step of the commit", "seconds", "share"], commit, [0]) }}
{% endif %}
<p class="remark">Stages: work summed over {{ "{:,}".format(timed.tasks) }} tasks with
{{ "{:,}".format(timed.rows) }} rows{% if ran_on %}, on {{ ran_on }}{% endif %}. Steps: by the clock, until
the manifest was written; checking and publishing follow, and stand in the event log of the staging.</p>
{% else %}
<p class="remark">Not known: the manifest says nothing of it.</p>
{% endif %}
</main>
<footer>
<p class="remark">Drawn from counts alone: {{ grain }}.</p>
</footer>
</body>
</html>
"""
