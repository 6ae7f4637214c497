//! The picture as SVG: one file, nothing from elsewhere, for light and for dark surroundings.

use std::fmt::Write;

use super::picture::{Area, Card, LINE_HEIGHT, Line, Look, Panel, Picture, Stroke};
use super::view::View;

/// Light by default; dark where the reader's surroundings are. The background is our own, so both are safe.
const STYLE: &str = "\
text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1f2937}\
.title{font-size:20px;font-weight:bold}.head{font-size:14px;font-weight:bold}\
.name{font-weight:bold}.dim{fill:#6b7280}.port{fill:#1d4ed8}.odd{fill:#b91c1c;font-weight:bold}\
.page{fill:#ffffff}.panel{fill:#f3f4f6;stroke:#d1d5db}.card{fill:#ffffff;stroke:#9ca3af}\
.broken{fill:#fef2f2;stroke:#b91c1c;stroke-dasharray:5 3}.host{fill:#e0e7ff;stroke:#6366f1}\
.bar{fill:#dbeafe;stroke:#2563eb;stroke-width:2}.routed{fill:#f3f4f6;stroke:#6b7280;stroke-dasharray:5 3}\
.wire{stroke:#2563eb;stroke-width:2;fill:none}.trunk{stroke:#6366f1;stroke-width:3;fill:none}\
@media (prefers-color-scheme:dark){text{fill:#e5e7eb}.dim{fill:#9ca3af}.port{fill:#93c5fd}.odd{fill:#fca5a5}\
.page{fill:#111827}.panel{fill:#1f2937;stroke:#374151}.card{fill:#111827;stroke:#6b7280}\
.broken{fill:#450a0a;stroke:#f87171}.host{fill:#1e1b4b;stroke:#818cf8}.bar{fill:#172554;stroke:#60a5fa}\
.routed{fill:#1f2937;stroke:#9ca3af}.wire{stroke:#60a5fa}.trunk{stroke:#818cf8}}";

/// From the top of a line to the foot of its letters.
const BASELINE: f64 = 13.0;
/// From the edge of a box to the text.
const PADDING: f64 = 10.0;

/// The picture of a view.
pub(super) fn of(view: &View<'_>) -> String {
    let picture = Picture::of(view);
    let (width, height) = (picture.width, picture.height);
    let mut svg = Svg::default();
    svg.raw(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(&picture.title)
    ));
    svg.rect("page", Area { x: 0.0, y: 0.0, width, height }, 0.0);
    svg.text("title", 20.0, 42.0, &picture.title);
    for panel in &picture.panels {
        svg.rect("panel", panel.area, 8.0);
    }
    for stroke in &picture.trunk {
        svg.stroke("trunk", *stroke);
    }
    for panel in &picture.panels {
        svg.panel(panel);
    }
    for card in &picture.host {
        svg.card(if card.is_odd { "broken" } else { "host" }, card);
    }
    svg.raw("</svg>\n");
    svg.text
}

#[derive(Default)]
struct Svg {
    text: String,
}

impl Svg {
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn rect(&mut self, class: &str, area: Area, radius: f64) {
        let Area { x, y, width, height } = area;
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"/>"
        );
    }

    fn stroke(&mut self, class: &str, Stroke { from, to }: Stroke) {
        let _ = writeln!(self.text, "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>", from.0, from.1, to.0, to.1);
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" xml:space=\"preserve\">{}</text>",
            escaped(text)
        );
    }

    fn panel(&mut self, panel: &Panel) {
        for stroke in &panel.rails {
            self.stroke("wire", *stroke);
        }
        self.text("head", panel.area.x + PADDING, panel.area.y + 24.0, &panel.title);
        self.card(if panel.is_bridge { "bar" } else { "routed" }, &panel.bar);
        for card in &panel.cards {
            self.card(if card.is_odd { "broken" } else { "card" }, card);
        }
    }

    fn card(&mut self, class: &str, card: &Card) {
        self.raw("<g>");
        if !card.tooltip.is_empty() {
            let _ = writeln!(self.text, "<title>{}</title>", escaped(&card.tooltip));
        }
        self.rect(class, card.area, 5.0);
        let mut y = card.area.y + PADDING + BASELINE;
        for Line { look, text } in &card.lines {
            self.text(class_of(*look), card.area.x + PADDING, y, text);
            y += LINE_HEIGHT;
        }
        self.raw("</g>\n");
    }
}

fn class_of(look: Look) -> &'static str {
    match look {
        Look::Name => "name",
        Look::Plain => "plain",
        Look::Dim => "dim",
        Look::Port => "port",
        Look::Odd => "odd",
    }
}

/// `text` as XML takes it; characters that it does not are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}
