//! Colours and shapes of a picture: a shape for each state, and text with a contrast of at least 4.5 : 1.

use super::Theme;
use dirigent_core::state::TaskStatus;

/// The shape of a state in a square of 14, to be filled.
pub(super) fn mark(status: TaskStatus) -> &'static str {
    match status {
        // A disc with a tick cut out.
        TaskStatus::Completed => "M7 0a7 7 0 1 0 0 14A7 7 0 1 0 7 0zM6 10.6L2.9 7.5l1.3-1.3L6 8l4-4 1.3 1.3z",
        // A cross.
        TaskStatus::Failed => {
            "M2.5 0L7 4.5 11.5 0 14 2.5 9.5 7 14 11.5 11.5 14 7 9.5 2.5 14 0 11.5 4.5 7 0 2.5z"
        }
        // An hourglass.
        TaskStatus::TimedOut => "M1 0h12v2.6L8.6 7 13 11.4V14H1v-2.6L5.4 7 1 2.6z",
        // A square with a bar cut out.
        TaskStatus::Cancelled => "M1 1h12v12H1zM4 6v2h6V6z",
        // Two heads of arrows: past it.
        TaskStatus::Skipped => "M0 2l6 5-6 5zM7 2l6 5-6 5z",
        // A triangle: play.
        TaskStatus::Running => "M2 0l11 7-11 7z",
        // A diamond with a hole.
        TaskStatus::Retrying => "M7 0l7 7-7 7-7-7zM7 4L4 7l3 3 3-3z",
        // Two bars: pause.
        TaskStatus::Waiting => "M2 1h3.6v12H2zM8.4 1H12v12H8.4z",
        // A ring.
        TaskStatus::Pending => {
            "M7 0a7 7 0 1 0 0 14A7 7 0 1 0 7 0zM7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 1 1 0-9.6z"
        }
    }
}

/// A colour by its name, in light and in dark.
type Colour = (&'static str, &'static str, &'static str);

const COLOURS: [Colour; 15] = [
    ("paper", "#faf9f7", "#15191d"),
    ("card", "#ffffff", "#20272d"),
    ("frame", "#f1efeb", "#1a2025"),
    ("ink", "#1f262c", "#e3e8ec"),
    ("muted", "#5b6670", "#a3b0ba"),
    ("line", "#7f8a93", "#73808b"),
    ("completed", "#2b7a57", "#5cb68d"),
    ("failed", "#b42f24", "#f08b80"),
    ("timed_out", "#985900", "#e2a955"),
    ("cancelled", "#75489a", "#c3a0e0"),
    ("skipped", "#68727c", "#94a0ab"),
    ("running", "#1d62a6", "#79b3ec"),
    ("retrying", "#1d62a6", "#79b3ec"),
    ("waiting", "#0b6b7a", "#5fc4d4"),
    ("pending", "#68727c", "#94a0ab"),
];

/// Rules as `selector{property:colour}`. Those who know no variables take the first colour, which is the light one.
const RULES: [(&str, &str, &str); 9] = [
    (".paper", "fill", "paper"),
    (".card", "fill", "card"),
    (".frame", "fill", "frame"),
    (".title", "fill", "ink"),
    (".label", "fill", "ink"),
    (".said", "fill", "muted"),
    (".note", "fill", "muted"),
    (".edges", "stroke", "line"),
    (".heads", "fill", "line"),
];

const SHAPES: &str = "\
svg.dirigent-graph{max-width:100%;height:auto}\
.dirigent-graph .title{font-size:15px;font-weight:650}\
.dirigent-graph .said{font-size:12px}\
.dirigent-graph .label{font-size:13px;font-weight:600}\
.dirigent-graph .note{font-size:11px}\
.dirigent-graph .edges{fill:none;stroke-width:1.4;stroke-linejoin:round}\
.dirigent-graph .card,.dirigent-graph .frame,.dirigent-graph .more{stroke-width:1.3}\
.dirigent-graph .more{fill:none}\
.dirigent-graph .coming>.more{stroke-dasharray:3 3}\
.dirigent-graph .mark{fill-rule:evenodd}\
.dirigent-graph .failed>.card,.dirigent-graph .timed_out>.card{stroke-width:2.2}\
.dirigent-graph .pending>.card,.dirigent-graph .skipped>.card{stroke-dasharray:4 3}";

/// The style sheet of a picture. On a page with several it reaches all of them: those of another theme have another class.
pub(super) fn style(theme: Theme) -> String {
    let mut out = rules(theme.name(), |name| match theme {
        Theme::Auto => Paint::Either(of(Theme::Light, name), format!("var(--dg-{name})")),
        theme => Paint::Plain(of(theme, name).to_owned()),
    });
    if theme == Theme::Auto {
        let all = |theme: Theme| -> String {
            COLOURS.map(|(name, ..)| format!("--dg-{name}:{};", of(theme, name))).concat()
        };
        let (light, dark) = (all(Theme::Light), all(Theme::Dark));
        // What the page says counts more than what the system says: this page's own word, or that of a notebook.
        out.push_str(&format!(
            ".dg-auto{{{light}}}@media(prefers-color-scheme:dark){{.dg-auto{{{dark}}}}}\
             [data-theme=light] .dg-auto,[data-jp-theme-light=true] .dg-auto,.vscode-light .dg-auto,\
             svg.dg-auto[data-theme=light]{{{light}}}\
             [data-theme=dark] .dg-auto,[data-jp-theme-light=false] .dg-auto,.vscode-dark .dg-auto,\
             svg.dg-auto[data-theme=dark]{{{dark}}}"
        ));
    }
    out
}

/// The style sheet of pictures that are parts of a page which says by `color-scheme` whether it is light or dark.
pub(crate) fn style_on_page() -> String {
    rules("page", |name| {
        Paint::Plain(format!("light-dark({},{})", of(Theme::Light, name), of(Theme::Dark, name)))
    })
}

fn of(theme: Theme, name: &str) -> &'static str {
    let colour = COLOURS.iter().find(|(known, ..)| *known == name);
    colour.map_or("", |(_, light, dark)| if theme == Theme::Dark { dark } else { light })
}

/// What a property is set to.
enum Paint {
    Plain(String),
    /// For those who know no variables, and for the others.
    Either(&'static str, String),
}

fn rules(class: &str, paint: impl Fn(&str) -> Paint) -> String {
    let mut out = String::from(SHAPES);
    let mut rule = |selector: &str, property: &str, name: &str| {
        out.push_str(&format!(".dg-{class} {selector}{{{property}:"));
        match paint(name) {
            Paint::Plain(paint) => out.push_str(&paint),
            Paint::Either(plain, variable) => out.push_str(&format!("{plain};{property}:{variable}")),
        }
        out.push('}');
    };
    for (selector, property, name) in RULES {
        rule(selector, property, name);
    }
    for outline in [".card", ".frame", ".more"] {
        rule(&format!(".declared>{outline}"), "stroke", "line");
    }
    for status in TaskStatus::ALL.map(TaskStatus::name) {
        for outline in ["card", "frame", "more"] {
            rule(&format!(".{status}>.{outline}"), "stroke", status);
        }
        rule(&format!(".{status}>.mark"), "fill", status);
        rule(&format!(".part.{status}"), "fill", status);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: <https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio>.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let part = |at: usize| {
                let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("two hex digits");
                let value = f64::from(value) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        (one / other).max(other / one)
    }

    #[test]
    fn text_and_shapes_stand_out_in_light_and_in_dark() {
        let colour = |wanted: &str| *COLOURS.iter().find(|(name, ..)| *name == wanted).expect("a colour");
        for ground in ["paper", "card", "frame"].map(colour) {
            for (name, light, dark) in COLOURS.into_iter().filter(|(name, ..)| *name != ground.0) {
                let least = match name {
                    "paper" | "card" | "frame" => continue,
                    "ink" | "muted" => 4.5,
                    _ => 3.0,
                };
                let (in_light, in_dark) = (contrast(light, ground.1), contrast(dark, ground.2));
                assert!(
                    in_light >= least && in_dark >= least,
                    "{name} on {}: {in_light} {in_dark}",
                    ground.0
                );
            }
        }
    }

    #[test]
    fn every_state_has_a_shape_of_its_own() {
        let shapes: std::collections::BTreeSet<&str> = TaskStatus::ALL.into_iter().map(mark).collect();
        assert_eq!(shapes.len(), TaskStatus::ALL.len());
    }
}
