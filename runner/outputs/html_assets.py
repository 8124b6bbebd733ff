"""Style and script of the report page. Marks have a contrast of at least 3:1 against their background, text of 4.5:1."""
# Decision 0090.

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--lane:#f3f5f7;--edge:#6e7781;
--good:#1a7f37;--bad:#cf222e;--warn:#9a6700;--sync:#0969da;--queued:#6e7781;--login:#8250df;--wait:#9a6700;--retry:#bc4c00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--lane:#161b22;
--edge:#848d97;--good:#3fb950;--bad:#f85149;--warn:#d29922;--sync:#4493f8;--queued:#848d97;--login:#ab7df8;--wait:#d29922;
--retry:#f0883e}}
*{box-sizing:border-box}[hidden]{display:none!important}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;padding:1rem;max-width:72rem;
overflow-wrap:break-word}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:0}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
p,dl,ul{margin:.2rem 0}.soft,dt,.axis,caption{color:var(--soft);font-size:.85rem}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:0 1rem;align-items:baseline}dd{margin:0}
.card{border:1px solid var(--line);border-left:.3rem solid var(--bad);border-radius:.3rem;padding:.5rem .8rem;margin:.6rem 0}
.card.skipped{border-left-color:var(--warn)}
.names{padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
.scroll{overflow-x:auto}pre{overflow-x:auto;font-size:.85rem;line-height:1.4;margin:.3rem 0;padding:.4rem;background:var(--lane)}
table{border-collapse:collapse;width:100%}caption{text-align:left}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top;font-weight:400}
thead th{font-size:.85rem;color:var(--soft)}.n{text-align:right}.nowrap,.n{white-space:nowrap}.why{min-width:16rem}
form{display:flex;flex-wrap:wrap;gap:.3rem 1rem;align-items:end;margin:.5rem 0}label{font-size:.85rem;color:var(--soft)}
input,select{font:inherit;color:var(--ink);background:var(--paper);border:1px solid var(--edge);border-radius:.3rem;
padding:.2rem .4rem;display:block}
.lane{margin:.5rem 0;break-inside:avoid}
svg.bars{display:block;width:100%;height:1.5rem;background:var(--lane)}svg.load{display:block;width:100%;height:6rem;background:var(--lane)}
.sync{fill:var(--sync)}.sync.bad{fill:var(--bad)}.queued{fill:var(--queued)}.login{fill:var(--login)}
.wait{fill:var(--wait)}.retry{fill:var(--retry)}
.axis{display:flex;justify-content:space-between}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;list-style:none}
.key svg{display:inline-block;width:.9rem;height:.9rem;vertical-align:-.1rem;margin-right:.3rem}
@media(max-width:44rem){#syncs thead{position:absolute;clip-path:inset(50%)}#syncs tr{display:flex;flex-direction:column;
padding:.5rem 0;border-bottom:1px solid var(--line)}#syncs tbody th{display:block;order:-1;border:0;padding:0;font-weight:600}
#syncs td,#syncs td.n{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem 0;text-align:right}
#syncs td::before{content:attr(data-of);color:var(--soft);font-size:.85rem;text-align:left;flex:none;align-self:start}
#syncs td.none{display:none}
.why{min-width:0}dl{grid-template-columns:minmax(0,1fr)}dt{margin-top:.3rem}body{overflow-wrap:anywhere}
#syncs{position:relative}#syncs thead{width:1px;height:1px;overflow:hidden}}
@media print{form{display:none!important}body{max-width:none}*{print-color-adjust:exact}.card,tr{break-inside:avoid}}
"""

# Progressive enhancement: without it (a policy may forbid it) the page shows everything, and the browser's search
# works.
SCRIPT = """
"use strict";
const form = document.getElementById("filter"), rows = [...document.querySelectorAll("#syncs tbody tr")];
const words = document.getElementById("words"), kind = document.getElementById("kind"), shown = document.getElementById("shown");
const texts = rows.map(row => row.textContent.toLowerCase());
function show() {
  const wanted = words.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, at) => {
    const fits = (!kind.value || row.dataset.outcome === kind.value) && wanted.every(word => texts[at].includes(word));
    row.hidden = !fits;
    count += fits;
  });
  shown.textContent = count + " of " + rows.length + " syncs are shown";
}
form.hidden = false;
form.addEventListener("submit", event => event.preventDefault());
words.addEventListener("input", show);
kind.addEventListener("input", show);
"""
