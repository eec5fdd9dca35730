//! SVG as text: the few shapes of the plots. All text is escaped here.

/// A point, in pixels from the upper left corner.
pub type Point = (f64, f64);

/// The place of a text relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The point is at the beginning of the text.
    Start,
    /// The point is in the middle of the text.
    Middle,
    /// The point is at the end of the text.
    End,
}

/// A picture in progress. Later shapes cover earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Svg {
    body: String,
}

impl Svg {
    /// Text whose base line is at this point.
    pub fn text(&mut self, at: Point, anchor: Anchor, class: &str, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y) = (pixels(at.0), pixels(at.1));
        self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{anchor} class=\"{class}\">{}</text>\n", escape(words)));
    }

    /// A straight line.
    pub fn line(&mut self, from: Point, to: Point, class: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(pixels);
        self.body.push_str(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" class=\"{class}\"/>\n"));
    }

    /// A rectangle with its upper left corner, its size, and the radius of its corners.
    pub fn rect(&mut self, at: Point, size: (f64, f64), round: f64, class: &str) {
        let [x, y, width, height, round] = [at.0, at.1, size.0.max(0.0), size.1.max(0.0), round].map(pixels);
        self.body.push_str(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\" class=\"{class}\"/>\n"
        ));
    }

    /// A full circle.
    pub fn dot(&mut self, at: Point, radius: f64, class: &str) {
        let [x, y, radius] = [at.0, at.1, radius].map(pixels);
        self.body.push_str(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" class=\"{class}\"/>\n"));
    }

    /// Straight lines from point to point.
    pub fn path(&mut self, points: &[Point], class: &str) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let step = if index == 0 { "M" } else { "L" };
            path.push_str(&format!("{step}{} {}", pixels(*x), pixels(*y)));
        }
        self.body.push_str(&format!("<path d=\"{path}\" class=\"{class}\"/>\n"));
    }

    /// A group of the shapes that `draw` draws: it has this class, and these words appear when it is pointed at.
    pub fn group(&mut self, class: &str, words: &str, draw: impl FnOnce(&mut Self)) {
        self.body.push_str(&format!("<g class=\"{class}\">\n"));
        if !words.is_empty() {
            self.body.push_str(&format!("<title>{}</title>\n", escape(words)));
        }
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// The picture for a page that has the style. `words` are for readers who cannot see it.
    pub fn inline(&self, width: f64, height: f64, words: &str) -> String {
        let (view, words) = (view(width, height), escape(words));
        format!("<svg {view} role=\"img\" aria-label=\"{words}\">\n{}</svg>\n", self.body)
    }

    /// The picture as a file of its own, with a background.
    pub fn file(&self, width: f64, height: f64, words: &str, style: &str) -> String {
        let mut card = Self::default();
        card.rect((0.5, 0.5), (width - 1.0, height - 1.0), 10.0, "card");
        let [px_width, px_height] = [width, height].map(pixels);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {} width=\"{px_width}\" height=\"{px_height}\" role=\"img\" \
             aria-label=\"{}\">\n<style>\n{style}</style>\n{}{}</svg>\n",
            view(width, height),
            escape(words),
            card.body,
            self.body
        )
    }
}

fn view(width: f64, height: f64) -> String {
    format!("viewBox=\"0 0 {} {}\"", pixels(width), pixels(height))
}

/// A number with one decimal. A value that is not a number would make the file invalid, so it becomes 0.
fn pixels(value: f64) -> String {
    let tenths = if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 };
    format!("{}", tenths + 0.0)
}

/// Escapes text for an element or an attribute. Characters that XML does not allow become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_numbers() {
        let mut svg = Svg::default();
        svg.group("x", "<&>", |svg| svg.text((f64::NAN, 1.25), Anchor::End, "l", "\"a\" \u{1b}'b'"));
        svg.path(&[(0.0, -0.01), (1.0, f64::INFINITY)], "p");
        let text = svg.inline(10.0, 20.0, "a&b");
        assert_eq!(
            text,
            "<svg viewBox=\"0 0 10 20\" role=\"img\" aria-label=\"a&amp;b\">\n<g class=\"x\">\n\
             <title>&lt;&amp;&gt;</title>\n<text x=\"0\" y=\"1.3\" text-anchor=\"end\" class=\"l\">&quot;a&quot;  \
             &#39;b&#39;</text>\n</g>\n<path d=\"M0 0L1 0\" class=\"p\"/>\n</svg>\n"
        );
    }
}
