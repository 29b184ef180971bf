"""The page of the report, for jinja2. No script, no font, no link: it can be mailed and kept."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ card.name }}: training report</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1080px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .8rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
th.text, td.text { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, .remark { color: #444; font-size: 14px; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem; font-size: 13px; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
</style>
</head>
<body>
{% macro table(heads, rows, texts) %}
<div class="table"><table>
<thead><tr>
{% for head in heads %}
<th scope="col"{% if loop.index0 in texts %} class="text"{% endif %}>{{ head }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{% for cell in row %}
<td{% if loop.index0 in texts %} class="text"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<h1>{{ card.name }}</h1>
<p class="remark">Training report of a bundle of Abundant</p>
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>

<h2>Summary</h2>
{{ table(["label", "unit", "stars", "bias", "robust scatter", "std. deviation", "median error of the truth",
"within raw error, %", "within error, %", "within 1.96 errors, %", "pull"], labels, [0, 1]) }}
<p class="remark">Residuals are predicted minus true labels of the part “{{ split }}”.
Bias: their median, with its error. Robust scatter: 1.4826 times the median absolute deviation.
Shares within the calibrated error, joined with the truth's own, should be 68.3 and 95.0 %;
pull, the robust width of residual over that error, 1.</p>

{% if versus %}
<h2>Against {{ reference }}</h2>
{{ table(["label", "unit", "by", "stars", "bias", "robust scatter", "std. deviation"], versus, [0, 1, 2]) }}
<p class="remark">The same stars for both: those with a label by each and a true one.</p>
{% endif %}

{% for kind, images in figures %}
<h2>{{ kind.title }}</h2>
{% for file, width, image in images %}
<figure>
<img width="{{ width }}" alt="{{ kind.title }}, {{ loop.index }} of {{ images | length }}"
src="data:image/png;base64,{{ image }}">
<figcaption>{{ file }}</figcaption>
</figure>
{% endfor %}
<p class="remark">{{ kind.caption }}</p>
{% endfor %}

{% if bins %}
<h2>In bins</h2>
{% for name, rows in bins %}
<details><summary>{{ name }}</summary>
{{ table(["along", "range", "stars", "bias", "robust scatter", "std. deviation", "within error, %",
"within 1.96 errors, %"], rows, [0]) }}
</details>
{% endfor %}
{% endif %}

<h2>Lineage</h2>
<details><summary>What the card says of the training</summary>
<pre>{{ lineage }}</pre></details>
</body>
</html>
"""
