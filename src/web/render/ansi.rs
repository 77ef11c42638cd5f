//! Output of programs: colours by classes, everything else that a terminal would do is left out.

use vte::{Params, Parser, Perform};

use super::html::Html;

/// Renders an output. Lines that a carriage return has overwritten are left out, as a terminal shows it.
#[must_use]
pub fn ansi(text: &str) -> Html {
    let mut screen = Screen::default();
    Parser::new().advance(&mut screen, text.as_bytes());
    screen.flush();
    screen.html
}

/// Colours and weight of what comes next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    colour: Option<u16>,
}

/// The eight colours of a terminal, as classes of the page: each is readable in the light and in the dark.
const COLOURS: [&str; 8] = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"];

#[derive(Default)]
struct Screen {
    html: Html,
    line: Vec<(Style, String)>,
    style: Style,
    /// True if the line was left by a carriage return.
    is_back: bool,
}

impl Screen {
    fn flush(&mut self) {
        for (style, text) in self.line.drain(..) {
            if style == Style::default() {
                self.html.text(&text);
                continue;
            }
            self.html.raw("<span class=\"");
            if style.bold {
                self.html.raw("b ");
            }
            if style.dim {
                self.html.raw("d ");
            }
            if let Some(colour) = style.colour {
                self.html.raw(COLOURS[usize::from(colour) % 8]);
            }
            self.html.raw("\">").text(&text).raw("</span>");
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        // What comes after a carriage return takes the place of the line, unless the line ends there.
        if std::mem::take(&mut self.is_back) && c != '\n' {
            self.line.clear();
        }
        match self.line.last_mut() {
            Some((style, text)) if *style == self.style => text.push(c),
            _ => self.line.push((self.style, c.to_string())),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.print('\n');
                self.flush();
            }
            b'\t' => self.print('\t'),
            b'\r' => self.is_back = true,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, _: &[u8], _: bool, action: char) {
        // The rest moves a cursor that isn't there.
        if action != 'm' {
            return;
        }
        let mut numbers = params.iter().map(|param| param[0]);
        while let Some(number) = numbers.next() {
            match number {
                0 => self.style = Style::default(),
                1 => self.style.bold = true,
                2 => self.style.dim = true,
                22 => (self.style.bold, self.style.dim) = (false, false),
                30..=37 => self.style.colour = Some(number - 30),
                90..=97 => self.style.colour = Some(number - 90),
                39 => self.style.colour = None,
                38 | 48 => {
                    let colour = match (numbers.next(), number) {
                        (Some(5), _) => numbers.next(),
                        (Some(2), _) => {
                            numbers.by_ref().take(3).for_each(drop);
                            None
                        }
                        _ => None,
                    };
                    if number == 38 {
                        self.style.colour = colour.filter(|colour| *colour < 16);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    #[test]
    fn colours_are_classes_and_the_rest_is_left_out() {
        let shown = |text: &str| ansi(text).as_str().to_owned();
        assert_eq!(shown("a\n\u{1b}[1;31mred\u{1b}[0m b"), "a\n<span class=\"b a1\">red</span> b");
        assert_eq!(shown("\u{1b}]0;title\u{7}x\u{1b}[2Jy"), "xy");
        assert_eq!(shown("\u{1b}[38;5;2mg\u{1b}[38;2;1;2;3mh<b>"), "<span class=\"a2\">g</span>h&lt;b&gt;");
        assert_eq!(shown("one\r\ntwo"), "one\ntwo");
        assert_eq!(shown("10 %\r20 %\r\u{1b}[32mdone\u{1b}[0m\nnext\r"), "<span class=\"a2\">done</span>\nnext");
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_well_formed(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            check::well_formed(ansi(&String::from_utf8_lossy(&bytes)).as_str());
        }
    }
}
