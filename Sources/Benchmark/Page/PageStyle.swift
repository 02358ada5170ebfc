/// What all pages have.
enum PageStyle {
    static func list(_ items: [String]) -> String {
        "<ul>\n" + items.map { Markup.element("li", $0) }.joined(separator: "\n") + "\n</ul>"
    }

    static func head(title: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        \(Markup.element("title", title))
        <style>
        \(css)</style></head>
        <body><main>
        """
    }

    /// Colours are told apart by those who do not see red and green, and stand out on their background by 3:1 at least
    /// (WCAG 2.1, 1.4.11).
    private static let light =
        """
        --ink:#1d2430;--soft:#59636f;--line:#d9dee5;--page:#fff;--panel:#f6f8fa;--bad:#b3261e;--good:#166b3f;
        --s0:#1f6fb4;--s1:#c8501a;--s2:#188a56;--s3:#8a4fbf;--s4:#977000;--s5:#cc3380;--s6:#107f8a;--s7:#6b7280;
        """

    private static let css =
        """
        :root{color-scheme:light dark;\(light)}
        @media screen and (prefers-color-scheme:dark){:root{
        --ink:#e4e8ee;--soft:#a3adba;--line:#39424e;--page:#14181e;--panel:#1c2229;--bad:#ff8a80;--good:#66d19e;
        --s0:#6cb2f2;--s1:#ff9160;--s2:#4fca8f;--s3:#c39bf0;--s4:#e0b13d;--s5:#f582b5;--s6:#45c7d1;--s7:#a5adba;
        }}
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
        main{max-width:1160px;margin:0 auto;padding:24px 20px 60px}
        h1{font-size:26px;margin:0 0 12px}
        h2{font-size:20px;margin:40px 0 8px;padding-bottom:4px;border-bottom:2px solid var(--line)}
        h3{font-size:16px;margin:20px 0 6px}
        h3 small{font-weight:400;color:var(--soft)}
        nav{margin:14px 0}
        nav a{margin-right:14px}
        a{color:var(--s0)}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;background:var(--panel);padding:12px 16px;\
        border-radius:6px;margin:0}
        dt{color:var(--soft)}
        dd{margin:0;overflow-wrap:anywhere}
        figure{margin:0 0 28px}
        .panels{display:flex;flex-wrap:wrap;gap:10px 14px;margin-top:6px}
        .panels svg{max-width:100%;height:auto;background:var(--panel);border-radius:6px}
        .legend{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:13px}
        .legend span{white-space:nowrap}
        .legend svg{vertical-align:middle;margin-right:5px}
        .caption,.note{color:var(--soft);font-size:13px;margin:4px 0 8px}
        .note{margin:2px 0}
        .scroll{overflow-x:auto}
        table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
        th,td{padding:3px 8px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
        th{color:var(--soft);font-weight:600}
        .figures{text-align:right}
        .failed,.failed h2{color:var(--bad)}
        tr.worse td:first-child{color:var(--bad);font-weight:600}
        tr.better td:first-child{color:var(--good);font-weight:600}
        tr.same td,tr.undecided td{color:var(--soft)}
        svg text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
        svg text.name,svg text.value{fill:var(--ink)}
        svg text.heading{fill:var(--ink);font-weight:600}
        .grid{stroke:var(--line);stroke-width:1}
        .frame{stroke:var(--soft);stroke-width:1}
        .curve{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}
        .dashed{stroke-dasharray:7 4}
        .dotted{stroke-dasharray:2 4}
        .mark{fill:currentColor;stroke:var(--panel);stroke-width:1}
        .bar{fill:currentColor;opacity:.75}
        .whisker{stroke:currentColor;stroke-width:1.5}
        .over{color:var(--ink)}
        .s0{color:var(--s0)}.s1{color:var(--s1)}.s2{color:var(--s2)}.s3{color:var(--s3)}
        .s4{color:var(--s4)}.s5{color:var(--s5)}.s6{color:var(--s6)}.s7{color:var(--s7)}
        @page{size:A4 landscape;margin:12mm}
        @media print{
        main{max-width:none;padding:0}
        nav{display:none}
        .chart,tr,dl,h2,h3{break-inside:avoid}
        h2,h3{break-after:avoid}
        .panels svg{max-width:49%}
        .panels svg:only-child{max-width:80%}
        .scroll{overflow:visible}
        table{font-size:10px}
        th,td{padding:1px 6px}
        *{-webkit-print-color-adjust:exact;print-color-adjust:exact}
        }

        """
}
