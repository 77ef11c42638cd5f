//! Numbers as a picture, and as a table for those who can't see it.

use std::fmt::Write as _;

use super::html::Html;

/// Width and height of the picture, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 80.0;

/// A series of numbers.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What it is, for the head of its column.
    pub name: &'static str,
    /// Class of its colour: `c0`, `c1` …
    pub class: &'static str,
    /// Values, one a step; `None` where nothing is known.
    pub values: &'a [Option<f64>],
}

/// Renders series as bars side by side, each over the name of its step.
#[must_use]
pub fn chart(title: &'static str, steps: &[String], series: &[Chart<'_>]) -> Html {
    let known = series.iter().flat_map(|one| one.values.iter().flatten().copied());
    let most = known.fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    let step = WIDTH / steps.len().max(1) as f64;
    let bar = step / series.len().max(1) as f64;
    let mut html = Html::new();
    html.raw("<div class=\"chart\"><svg viewBox=\"0 0 600 80\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    for (at, one) in series.iter().enumerate() {
        let mut path = String::new();
        for (n, value) in one.values.iter().enumerate() {
            let height = value.unwrap_or(0.0).max(0.0) / most * (HEIGHT - 2.0);
            if height > 0.0 {
                let x = n as f64 * step + at as f64 * bar;
                write!(path, "M{x:.1} 80v-{height:.1}h{:.1}v{height:.1}z", bar * 0.9).unwrap_or_default();
            }
        }
        html.raw("<path class=\"").raw(one.class).raw("\" d=\"").text(&path).raw("\"></path>");
    }
    html.raw("</svg><details><summary>")
        .raw(title)
        .raw("</summary><div class=\"wide\" tabindex=\"0\"><table><thead><tr><th>Time</th>");
    for one in series {
        html.raw("<th class=\"").raw(one.class).raw("\">").raw(one.name).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for (n, name) in steps.iter().enumerate() {
        let values: Vec<Option<f64>> = series.iter().map(|one| one.values.get(n).copied().flatten()).collect();
        if values.iter().flatten().all(|value| *value == 0.0) {
            continue;
        }
        html.raw("<tr><td>").text(name).raw("</td>");
        for value in values {
            html.raw("<td>").text(&value.map_or_else(|| "–".to_owned(), number)).raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div></details></div>");
    html
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// A time from which on something was so, until another.
#[derive(Clone, Debug)]
pub struct Span {
    /// Beginning and end, in milliseconds.
    pub from: i64,
    /// End.
    pub to: i64,
    /// Class of its colour.
    pub class: &'static str,
}

/// Renders what followed on what, to scale. A table beside it says the same.
#[must_use]
pub fn time_line(spans: &[Span]) -> Html {
    let (first, last) = (spans.iter().map(|span| span.from).min(), spans.iter().map(|span| span.to).max());
    let mut html = Html::new();
    let (Some(first), Some(last)) = (first, last) else { return html };
    let scale = WIDTH / ((last - first).max(1) as f64);
    html.raw(
        "<div class=\"chart line\"><svg viewBox=\"0 0 600 80\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    for span in spans {
        let from = (span.from - first) as f64 * scale;
        // The shortest is to be seen as well.
        let width = ((span.to - span.from) as f64 * scale).max(3.0);
        let path = format!("M{:.1} 20h{width:.1}v40h-{width:.1}z", from.min(WIDTH - width));
        html.raw("<path class=\"").raw(span.class).raw("\" d=\"").text(&path).raw("\"></path>");
    }
    html.raw("</svg></div>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_table() {
        let (steps, values) = (["09:00".to_owned(), "10:00".to_owned()], [Some(2.0), None]);
        let html = chart("Numbers", &steps, &[Chart { name: "ended", class: "c0", values: &values }]);
        let html = html.as_str();
        assert!(html.contains("M0.0 80v-78.0h270.0v78.0z"), "{html}");
        assert!(html.contains("<td>09:00</td><td>2</td>") && !html.contains("10:00"), "{html}");
    }
}
