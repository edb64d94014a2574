/** The style sheet of all pages. `colour` is the brand's, like #0b5cad. */
export function styleSheet(colour: string): string {
  return `:root{color-scheme:light dark;--brand:${colour};--on-brand:${textOn(colour)};--link:${readable(colour)};--page:#f3f5f8;--card:#fff;--text:#17202b;
--quiet:#5b6776;--line:#d5dbe3;--field:#fff;--bad:#b3261e;--bad-back:#fdecea;--good:#1a6b3c;--good-back:#e7f5ec}
@media (prefers-color-scheme:dark){:root{--page:#10151b;--card:#1a212a;--text:#e8edf3;--quiet:#9aa7b6;--line:#34404e;--field:#121820;
--bad:#ffb4ab;--bad-back:#45201d;--good:#9fe0b6;--good-back:#173526}}
*{box-sizing:border-box}
html{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
body{margin:0;min-height:100vh;min-height:100dvh;display:flex;flex-direction:column;background:var(--page);color:var(--text)}
body::before{content:"";height:4px;background:var(--brand)}
header,footer{width:100%;max-width:30rem;margin:0 auto;padding:1rem 1.25rem}
header{display:flex;align-items:center;justify-content:center;gap:.75rem;padding-top:clamp(1.25rem,8vh,5rem);font-size:1.375rem;font-weight:650}
header img{height:2.5rem;width:auto}
header .mark{width:2.25rem;height:2.25rem;border-radius:.6rem;background:var(--brand);color:var(--on-brand);display:grid;place-items:center;font-size:1.2rem}
main{width:calc(100% - 2rem);max-width:27.5rem;margin:0 auto;padding:1.75rem;background:var(--card);border:1px solid var(--line);border-radius:.9rem;
box-shadow:0 1px 2px rgb(0 0 0/.04),0 12px 32px rgb(0 0 0/.06)}
h1{margin:0 0 1rem;font-size:1.3rem;line-height:1.3}
h2{margin:1.75rem 0 .5rem;font-size:1rem}
p{margin:.5rem 0 1rem}
form+.quiet{margin-top:1.25rem;margin-bottom:0}
.quiet{color:var(--quiet);font-size:.9rem}
label{display:block;margin:0 0 .3rem;font-weight:550;font-size:.925rem}
input[type=text],input[type=password],input[type=email]{width:100%;margin:0 0 1.1rem;padding:.7rem .8rem;font:inherit;color:inherit;background:var(--field);
border:1px solid var(--line);border-radius:.5rem}
input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid color-mix(in srgb,var(--link) 45%,transparent);outline-offset:1px}
button{width:100%;padding:.75rem 1rem;font:inherit;font-weight:600;color:var(--on-brand);background:var(--brand);border:1px solid transparent;border-radius:.5rem;cursor:pointer}
button:hover{filter:brightness(1.08)}
button.plain{color:var(--text);background:transparent;border-color:var(--line)}
button.small{width:auto;padding:.3rem .7rem;font-size:.875rem;font-weight:500}
.row{display:flex;gap:.75rem;margin-top:1.25rem}
.row button{flex:1}
a{color:var(--link)}
@media (prefers-color-scheme:dark){main a:not(.provider){color:color-mix(in srgb,var(--brand) 45%,white)}}
.or{margin-top:1.5rem;text-align:center}
.provider{display:block;margin:.6rem 0 0;padding:.65rem 1rem;text-align:center;text-decoration:none;font-weight:550;color:var(--text);border:1px solid var(--line);border-radius:.5rem}
.links{display:flex;flex-wrap:wrap;gap:.4rem 1.25rem;margin:1.25rem 0 0;font-size:.925rem}
.notice{margin:0 0 1.1rem;padding:.7rem .85rem;border-radius:.5rem;font-size:.925rem}
.bad{color:var(--bad);background:var(--bad-back)}
.good{color:var(--good);background:var(--good-back)}
.code{margin:1rem 0;padding:1rem;text-align:center;font:600 1.25rem/1.4 ui-monospace,"SF Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere;
background:var(--page);border:1px dashed var(--line);border-radius:.5rem;user-select:all}
.list{margin:0;padding:0;list-style:none}
.list li{display:flex;align-items:center;justify-content:space-between;gap:1rem;padding:.7rem 0;border-top:1px solid var(--line)}
.list li>div{min-width:0;overflow-wrap:anywhere}
.check{display:flex;gap:.7rem;align-items:flex-start;width:100%;margin:0;font-weight:400}
.check input{width:1.15rem;height:1.15rem;margin:.2rem 0 0;accent-color:var(--brand);flex:none}
.check small{display:block;color:var(--quiet)}
footer{margin-top:auto;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;justify-content:center;color:var(--quiet);font-size:.85rem;padding-top:2rem}
footer a{color:inherit}
@media (max-width:30rem){main{padding:1.4rem 1.15rem}header{font-size:1.2rem}}
`;
}

/** Black or white, whichever reads better on the colour. */
const textOn = (colour: string): string => (luminance(partsOf(colour)) > 0.179 ? '#000' : '#fff');

/** The colour, made darker until it can be read on white: WCAG 2.2 wants a contrast of 4.5. */
function readable(colour: string): string {
  let parts = partsOf(colour);
  while (1.05 / (luminance(parts) + 0.05) < 4.5) parts = parts.map((part) => Math.floor(part * 0.95));
  return `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}

const partsOf = (colour: string): number[] => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** WCAG's relative luminance of red, green and blue. */
function luminance(parts: readonly number[]): number {
  const [red = 0, green = 0, blue = 0] = parts.map((part) =>
    part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
