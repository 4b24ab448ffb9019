//! Pictures of made-up workflows and runs, as whoever asks for one sees them.

mod made;

use dirigent_core::event::Verdict;
use dirigent_report::drawing::NodeKind;
use dirigent_report::{Detail, Drawing, Picture, Sketch, Theme, cell};
use made::{ETL, Told};
use std::path::Path;

const EVIL: &str =
    "</text><script>alert(1)</script>\"'`#]; %% {{x}} \u{202e}\u{1}\0\n]]> &amp; \u{ffff} שלום";

fn whole(told: &Told) -> Drawing {
    Drawing::of_run(&told.state, &Detail::default()).expect("nothing is to be unfolded")
}

fn svg(told: &Told) -> String {
    Picture::Svg.draw(&whole(told), Theme::Auto)
}

/// Where the nodes are and how the edges run: the picture without what it says and how that looks.
fn places(svg: &str) -> Vec<&str> {
    let before =
        |end| svg.match_indices(end).map(|(at, _)| &svg[svg[..at].rfind("translate").unwrap_or(0)..at]);
    let edges = svg.split("class=\"edges\"").nth(1).and_then(|rest| rest.split("/>").next());
    before("\"><title>").chain(edges).collect()
}

#[track_caller]
fn check_text(told: &Told, expected: &str) {
    let text = Picture::Text.draw(&whole(told), Theme::Auto);
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&text), lines(expected), "\n{text}");
}

#[test]
fn a_fork_has_branches_and_what_waits_for_them_stands_below() {
    check_text(
        &made::run(&made::SMALL),
        "nightly  has not ended: 7 of 7 tasks completed
         ✓ extract      0.42 s
         ✓ clean        0.55 s  ← extract
         ├─ ✓ features  0.68 s
         │  ✓ train     0.81 s  ← features
         └─ ✓ baseline  0.94 s
         ✓ compare      1.07 s  ← train, baseline
         ✓ publish      1.20 s  ← compare",
    );
}

#[test]
fn a_picture_that_is_drawn_again_is_the_one_that_is_drawn_anew() {
    let mut sketch = Sketch::default();
    for told in [made::run(&made::SMALL), made::run(&made::SMALL), made::fan_out(), made::large(60)] {
        let drawing = whole(&told);
        assert_eq!(cell(&drawing, "", "", &mut sketch), cell(&drawing, "", "", &mut Sketch::default()));
    }
}

#[test]
fn parts_stand_below_their_whole() {
    check_text(
        &made::fan_out(),
        "nightly  has not ended: 12 of 16 tasks completed
         ✓ list shards    0.42 s
         ✓ load           2.14 s               ← list shards
         ┆ ✓ 0            0.94 s
         ┆ ✓ 1            1.07 s
         ┆ ✓ 2            1.20 s
         ┆ ✓ 3            1.33 s
         ┆ ✓ 4            1.46 s
         ┆ ✓ 5            1.59 s · 2 attempts
         ┆ ✓ 6            1.72 s
         ┆ ✓ 7            1.85 s
         ▸ model          running              ← load
         ┆ ✓ split        1.98 s
         ┆ ├─ ▸ fit       running
         ┆ └─ ✓ baseline  2.24 s
         ┆ · score        pending              ← fit, baseline
         · publish        pending              ← model",
    );
}

#[test]
fn a_picture_stays_the_same_while_the_run_goes_on() {
    let mut told = Told::of(made::tasks(&ETL));
    let first = svg(&told);
    assert_eq!(places(&first).len(), ETL.len() + 1);
    for (task, (_, _, fate)) in (0..).zip(ETL) {
        told.fate(task, fate);
        assert_eq!(places(&svg(&told)), places(&first));
    }
    told.end(Verdict::Failed);
    assert_eq!(places(&svg(&told)), places(&first));
}

#[test]
fn every_state_has_a_shape_and_words() {
    let picture = svg(&made::run(&ETL));
    for words in ["timed out", "failed", "running", "retrying", "waiting", "pending", "skipped", "2 attempts"]
    {
        assert!(picture.contains(words), "{words}");
    }
    let shapes: std::collections::BTreeSet<&str> =
        picture.split("class=\"mark\" d=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    assert_eq!(shapes.len(), 8);
    assert!(picture.contains(
        "<title>convert\nfailed with exit code 3\ntook 1.20 s\n1 attempt\nKeyError: &#39;XAU&#39;</title>"
    ));
}

#[test]
fn names_are_text_in_every_form() {
    let mut told = Told::of(vec![made::task(EVIL, Vec::new()), made::task(&"long ".repeat(80), vec![0])]);
    told.fate(0, "failed");
    let drawing = whole(&told);
    for form in Picture::ALL {
        let text = form.draw(&drawing, Theme::Auto);
        assert!(!text.contains('\u{202e}') && !text.contains('\u{1}') && !text.contains('\0'), "{text}");
        match form {
            Picture::Svg => assert!(!text.contains("<script") && !text.contains('\u{ffff}'), "{text}"),
            Picture::Mermaid => assert!(!text.contains("<script") && !text.contains('`'), "{text}"),
            Picture::Text => assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}"),
            Picture::Dot => assert!(text.contains("\\\"'`#]"), "{text}"),
        }
    }
}

#[test]
fn a_great_many_tasks_are_drawn_as_stages_that_can_be_unfolded() {
    let told = made::large(1_200);
    let folded = whole(&told);
    assert!(folded.nodes.len() <= 40, "{}", folded.nodes.len());
    assert!(folded.nodes.iter().map(|node| node.tasks.len()).sum::<usize>() == 1_200);
    assert!(folded.folded_words().starts_with("1,200 tasks folded into"));
    assert!(svg(&told).contains(">1,200 tasks folded into"), "however narrow the picture is");

    let detail = Detail { unfold: vec!["2".to_owned()], ..Detail::default() };
    let unfolded = Drawing::of_run(&told.state, &detail).expect("there is a stage 2");
    let stage = folded.nodes.iter().find(|node| node.label.starts_with("2. ")).expect("a stage 2");
    assert_eq!(unfolded.nodes.iter().filter(|node| node.kind == NodeKind::Task).count(), stage.tasks.len());

    let all = Drawing::of_run(&told.state, &Detail { most_nodes: usize::MAX, ..Detail::default() });
    assert_eq!(all.expect("nothing is to be unfolded").nodes.len(), 1_200);
    let wrong = Drawing::of_run(&told.state, &Detail { unfold: vec!["x".to_owned()], ..Detail::default() });
    assert_eq!(wrong.expect_err("there is no x").to_string(), "nothing that is called `x` is folded");
}

#[test]
fn a_fan_out_of_a_great_many_is_folded_and_the_rest_is_not() {
    let mut told = Told::of(vec![
        made::task("list", Vec::new()),
        made::task("load", vec![0]),
        made::task("end", vec![1]),
    ]);
    told.fate(0, "done");
    told.started(1, 1);
    told.becomes(1, (0..500).map(|part| made::task(&format!("load/{part}"), Vec::new())).collect());
    told.fate(3, "failed");
    let drawing = whole(&told);
    let labels: Vec<&str> = drawing.nodes.iter().map(|node| node.label.as_str()).collect();
    assert_eq!(labels, ["list", "load", "end", "1. load/…"]);
    assert_eq!(drawing.nodes[3].about[0], "500 tasks: 1 failed, 499 pending");
}

#[test]
fn parts_of_an_attempt_that_was_given_up_are_not_drawn() {
    let mut told = Told::of(vec![made::task("load", Vec::new())]);
    for attempt in [1, 2] {
        told.started(0, attempt);
        told.becomes(0, vec![made::task(&format!("load/{attempt}"), Vec::new())]);
        if attempt == 1 {
            told.ended(0, 1, dirigent_core::Outcome::Failed { exit_code: 1 }, Some(0));
        }
    }
    let labels: Vec<String> = whole(&told).nodes.into_iter().map(|node| node.label).collect();
    assert_eq!(labels, ["load", "2"]);
}

#[test]
fn a_picture_of_a_hundred_tasks_is_small_and_has_no_ids() {
    let picture = svg(&made::large(100));
    assert!(picture.len() <= 100_000, "{}", picture.len());
    for part in [" id=", "<script", "http", "url(", "href", "@import"] {
        assert_eq!(picture.matches(part).count(), usize::from(part == "http"), "{part}");
    }
}

#[test]
fn the_pictures_in_the_documentation_are_those_that_are_drawn() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures");
    let finished = |mut told: Told| {
        told.end(Verdict::Succeeded);
        told
    };
    let pictures = [
        ("small", whole(&finished(made::run(&made::SMALL)))),
        ("states", whole(&made::run(&ETL))),
        ("fan-out", whole(&made::fan_out())),
        ("stages", whole(&made::shards(200))),
    ];
    for (name, drawing) in pictures {
        let path = folder.join(format!("{name}.svg"));
        let drawn = Picture::Svg.draw(&drawing, Theme::Auto);
        if std::env::var_os("DRAW_PICTURES").is_some() {
            std::fs::write(&path, &drawn).expect("docs/pictures can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == drawn, "{name}.svg has changed: look at it, then keep it with DRAW_PICTURES=1");
    }
}
