//! The forms in which a graph can be drawn, and the one door to all of them.

use crate::drawing::Drawing;
use crate::svg::Theme;
use crate::{dot, mermaid, svg, text};

/// A form of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// Lines for a terminal.
    Text,
    /// An image that stands alone.
    Svg,
    /// Mermaid, as pages of Markdown show it.
    Mermaid,
    /// The language of Graphviz.
    Dot,
}

impl Picture {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Text, Self::Svg, Self::Mermaid, Self::Dot];

    /// Its name, as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Svg => "svg",
            Self::Mermaid => "mermaid",
            Self::Dot => "dot",
        }
    }

    /// The form of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }

    /// Draws in this form: text in 80 columns and without colours.
    pub fn draw(self, drawing: &Drawing, theme: Theme) -> String {
        match self {
            Self::Text => text::draw(drawing, 80, &|_, sign| sign.to_owned()),
            Self::Svg => svg::draw(drawing, theme),
            Self::Mermaid => mermaid::draw(drawing),
            Self::Dot => dot::draw(drawing),
        }
    }
}
