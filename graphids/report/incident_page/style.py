"""How the page looks: one style sheet, for light and dark screens and for paper, with nothing fetched from anywhere."""

# Marks are Okabe and Ito's ("Color Universal Design", 2008), lighter on dark: told apart with any colour vision.
STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--faint:#5c6670;--line:#d5dae0;--card:#f5f7f9;--score:#0072b2;
--high:#c2410c;--medium:#a16207;--low:#4b6584;--mark:#d55e00;--over:#0f766e}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6e9ec;--faint:#9aa5b1;--line:#38414b;--card:#1d232a;
--score:#56b4e9;--high:#ff8a5b;--medium:#f2c14e;--low:#9db4cc;--mark:#ff8f4d;--over:#5eead4}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.25rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .35rem}h4{font-size:.9rem;margin:1rem 0 .3rem;color:var(--faint);font-weight:600}
p{margin:.4rem 0;max-width:56rem;overflow-wrap:anywhere}
.lead{font-size:1.1rem;margin:.5rem 0 1rem}.note,.legend{color:var(--faint);font-size:.87rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:.75rem 0;font-size:.93rem}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
code,pre,.id,.num{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.9em}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;overflow-x:auto}
.num{white-space:nowrap}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th{color:var(--faint);font-weight:600;text-align:left;vertical-align:bottom}
th,td{padding:.32rem .9rem .32rem 0;border-bottom:1px solid var(--line)}td{vertical-align:top}
a{color:inherit}a:hover{color:var(--score)}
.badge{display:inline-block;min-width:4.4em;padding:0 .5em;border-radius:4px;border:1.5px solid;text-align:center;
font-size:.78rem;font-weight:700;letter-spacing:.03em;text-transform:uppercase}
.high{color:var(--high)}.medium{color:var(--medium)}.low{color:var(--low)}
.incident{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem 1.1rem;margin:1rem 0}
.reason{font-size:1.02rem;margin:.3rem 0 .6rem}
.evidence{display:grid;grid-template-columns:minmax(17rem,5fr) minmax(20rem,6fr);gap:.5rem 1.5rem;align-items:start}
@media (max-width:54rem){.evidence{grid-template-columns:1fr}}
svg{display:block;width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.strip{min-width:40rem}.strip .faint,.graph .faint{fill:var(--faint)}
.axis{stroke:var(--line);fill:none}.curve{fill:var(--score);fill-opacity:.22;stroke:var(--score);stroke-width:1.2}
.threshold{stroke:var(--ink);stroke-dasharray:5 4}.jump{stroke:var(--faint);stroke-dasharray:2 3}
.band{fill-opacity:.2;stroke-width:1.2}.band.high,.tick.high{fill:var(--high);stroke:var(--high)}
.band.medium{fill:var(--medium);stroke:var(--medium)}.band.low{fill:var(--low);stroke:var(--low)}
.alert{stroke:var(--mark);stroke-width:1.2}svg a:hover .band{fill-opacity:.45}
figure{margin:.5rem 0}
svg .strong{font-weight:700}.graph{max-width:30rem}.graph .faint{font-size:11px}
.node{stroke:var(--faint);fill:var(--paper)}.heat{fill:var(--mark);stroke:none}
.node.named{stroke:var(--ink);stroke-width:2}.node.unknown{stroke:var(--over);stroke-width:2.5}
.node.absent{stroke-dasharray:3 3}
.edge{fill:none;stroke:var(--faint)}.edge.named{stroke:var(--mark)}
.bar{display:inline-block;vertical-align:middle;width:5rem;height:.6rem;margin-right:.5rem}
.bar .room{fill:var(--line)}.bar .full{fill:var(--mark)}
.warning{border-left:4px solid var(--high);padding:.4rem .8rem;background:var(--card)}
@media print{:root{font-size:11px;color-scheme:light;--paper:#fff;--ink:#000;--faint:#444;--line:#bbb;--card:#fff;
--score:#0072b2;--high:#c2410c;--medium:#a16207;--low:#4b6584;--mark:#d55e00;--over:#0f766e}
body{max-width:none;padding:0;font-size:11px}.evidence{grid-template-columns:2fr 3fr}.num{white-space:normal}
.wide{overflow:visible}th,td{padding-right:.5rem}
.incident,tr,svg{break-inside:avoid}h2,h3{break-after:avoid}.strip{min-width:0}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
