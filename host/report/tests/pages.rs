//! The pages of models and runs that a seed makes: what they say, and that nothing of what
//! others wrote gets out of its place. How they look is the matter of `browser.rs`.

#![allow(missing_docs)]

mod common;

use common::{Far, HOSTILE, Random};
use dsperse_report::{Subject, comparison, page, subject, tables, trace};

fn case(name: &str) -> Subject {
    let found = common::all().into_iter().find(|(n, _)| *n == name);
    found.expect("a case of this name").1
}

/// The text of the page without tags, spaces made plain.
fn words(html: &str) -> String {
    let body = html.split_once("<body>").map_or("", |(_, body)| body);
    let body = body.split("<script").next().unwrap_or_default();
    let mut out = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => {
                inside = true;
                out.push(' ');
            }
            '>' => inside = false,
            '\u{202f}' => out.push(' '),
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(html: &str, wanted: &str) {
    let words = words(html);
    assert!(
        words.contains(wanted),
        "\"{wanted}\" is missing in:\n{words}"
    );
}

#[test]
fn the_verdict_comes_first_and_says_how_much() {
    for (name, sentence) in [
        (
            "resnet50",
            "Accepted: 53 of 54 slices are proven, 1 recomputed by the verifier.",
        ),
        (
            "no-proofs",
            "Nothing is proven: the model ran, and there are no proofs.",
        ),
        (
            "unverified",
            "Not verified yet: there are proofs of 53 of 54 slices, and nobody has checked them.",
        ),
        ("failed", "Not accepted: 1 of 54 slices failed."),
        (
            "half",
            "Incomplete: 20 of 54 slices came through, 1 failed, 33 did not run.",
        ),
        ("sliced", "Cut into 54 slices; nothing is compiled yet."),
        ("compiled", "Compiled: 53 of 54 slices can be proven."),
    ] {
        let html = page(&case(name)).expect("a page");
        says(&html, sentence);
        let at = words(&html).find(sentence).unwrap_or(usize::MAX);
        assert!(at < 400, "{name}: the sentence stands at {at}");
    }
    let html = page(&case("resnet50")).expect("a page");
    says(&html, "99.9 % of the multiply-accumulates proven.");
    // The bottlenecks of the third stage but for the first, which has a projection.
    says(&html, "5 × block of 3 slices");
    says(&html, "28–42: Conv, Relu → Conv, Relu");
}

#[test]
fn reasons_are_told_once_with_their_share() {
    let html = page(&case("compiled")).expect("a page");
    // Once in full for the slice that nobody proves; the row of the others refers to it.
    let told = words(&html)
        .matches("jstprove: No plugin of this name is loaded")
        .count();
    assert_eq!(told, 1);
    says(&html, "jstprove: as no. 1 53 slices: 0 – 52");
    says(&html, "GlobalAveragePool");
    says(
        &html,
        "another backend, or a rewrite of the operator by simpler ones",
    );
}

#[test]
fn a_failed_slice_is_named_with_its_reason() {
    let html = page(&case("failed")).expect("a page");
    says(
        &html,
        "The proof does not hold: layer 1 of the lookup argument does not add up",
    );
    assert!(html.contains("id=\"slice-17\""));
    let html = page(&case("half")).expect("a page");
    says(&html, "The worker needed more than 4.0 GiB of memory");
    says(&html, "give it more with --memory");
    says(&html, "Output: none yet, the chain is not complete.");
}

#[test]
fn names_of_others_stay_text() {
    let subject = case("hostile");
    for html in [
        page(&subject).expect("a page"),
        comparison(&subject, &subject).expect("a page"),
    ] {
        // Two scripts of ours: data and code. No element and no attribute of others.
        assert_eq!(html.matches("<script").count(), 2);
        assert_eq!(html.matches("</script").count(), 2);
        for broken in [
            "<img",
            "<b>",
            "onerror=alert(1)>",
            "<svg onload",
            "\u{202e}",
            "\u{1b}",
            "\u{0}",
            "\u{2028}",
        ] {
            assert!(!html.contains(broken), "{broken:?}");
        }
        assert!(html.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
        assert!(html.contains("{{ 7*7 }}"), "templates in names are not run");
        for link in html.split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap_or_default();
            assert!(link.starts_with('#') || link.starts_with("data:"), "{link}");
        }
    }
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    for (name, subject) in common::all() {
        let html = page(&subject).expect("a page");
        for outside in ["http://", "https://", " src=", "@import", "url(h"] {
            // A hostile name may speak of anything, as text.
            let text = outside == " src=" && name == "hostile";
            assert!(text || !html.contains(outside), "{name}: {outside}");
        }
        assert!(html.contains("default-src 'none'"));
        // The policy allows no inline style, so there must be none.
        assert!(!html.contains(" style="), "{name}");
    }
}

#[test]
fn a_model_of_121_slices_stays_below_two_megabytes() {
    let subject = case("densenet121");
    assert_eq!(subject.slices.len(), 121);
    let html = page(&subject).expect("a page");
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    says(&html, "24 × block of 2 slices");
    says(&html, "12 × block of 2 slices");
}

#[test]
fn the_documents_are_inside_as_they_are() {
    let subject = case("resnet50");
    let html = page(&subject).expect("a page");
    let start = "id=\"dsperse-data\">";
    let at = html.find(start).expect("data") + start.len();
    let end = html[at..].find("</script>").expect("an end") + at;
    let data: serde_json::Value = serde_json::from_str(&html[at..end]).expect("JSON");
    assert_eq!(data["schema"], "1.0.0");
    assert_eq!(data["subjects"][0], subject::documents(&subject));
    assert_eq!(data["subjects"][0]["run_results"]["schema"], "1.0.0");
}

#[test]
fn tables_hold_what_the_plots_show() {
    let subject = case("resnet50");
    let all = tables(&subject);
    let names: Vec<&str> = all.iter().map(|t| t.name).collect();
    assert_eq!(
        names,
        [
            "slices.csv",
            "timeline.csv",
            "not-proven.csv",
            "error-by-depth.csv",
            "values.csv"
        ]
    );
    // None of these cells holds a line break.
    let rows = |name: &str| {
        let table = all.iter().find(|t| t.name == name).expect("a table");
        table.csv.lines().count() - 1
    };
    assert_eq!(rows("slices.csv"), 54);
    assert_eq!(rows("timeline.csv"), 54 * 3 + 53);
    assert_eq!(rows("error-by-depth.csv"), 54);
    let sampled: usize = subject
        .comparison
        .iter()
        .flat_map(|c| &c.tensors)
        .map(|t| t.sample.len())
        .sum();
    assert_eq!(rows("values.csv"), sampled);
}

#[test]
fn a_trace_has_every_job_once_without_overlap_in_a_lane() {
    let trace = trace(&case("resnet50"));
    let events = trace["traceEvents"].as_array().expect("events");
    let mut jobs: Vec<(i64, i64, f64, f64)> = events
        .iter()
        .filter(|e| e["ph"] == "X")
        .map(|e| {
            let n = |k: &str| e[k].as_f64().expect("a number");
            (n("pid") as i64, n("tid") as i64, n("ts"), n("dur"))
        })
        .collect();
    assert_eq!(jobs.len(), 54 * 3 + 53);
    jobs.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    for pair in jobs.windows(2) {
        if (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1) {
            assert!(pair[0].2 + pair[0].3 <= pair[1].2 + 3000.0, "{pair:?}");
        }
    }
    let names: Vec<&str> = events
        .iter()
        .filter(|e| e["name"] == "process_name")
        .filter_map(|e| e["args"]["name"].as_str())
        .collect();
    assert_eq!(names, ["compile", "run", "prove", "verify"]);
}

#[test]
fn two_runs_stand_side_by_side() {
    let (a, b) = (case("resnet50"), case("no-proofs"));
    let html = comparison(&a, &b).expect("a page");
    says(&html, "Accepted: 53 of 54 slices are proven");
    says(&html, "Nothing is proven");
    says(&html, "Slices proven 53 0");
    says(&html, "A and B ran on different inputs.");
    // Other models are compared in their totals only.
    let html = comparison(&a, &case("densenet121")).expect("a page");
    says(&html, "A and B are of different ONNX files.");
    assert!(!html.contains("State in A"));
}

#[test]
fn an_empty_model_and_one_slice_make_pages_too() {
    page(&Subject::default()).expect("a page");
    let mut r = Random(3);
    let layer = common::Layer {
        ops: vec![("Identity", 1)],
        parameters: 0,
        macs: 0,
        reads: vec![None],
        shape: Vec::new(),
    };
    let mut s = common::model("one.onnx", &[], vec![layer], &mut r);
    common::compile(&mut s, &mut r, |_| true);
    common::run(&mut s, &mut r, Far::Verified);
    let html = page(&s).expect("a page");
    says(
        &html,
        "Accepted: a proof of the only slice was checked and holds.",
    );
    says(&html, "100 % of the slices proven.");
    assert_eq!(HOSTILE.len(), 8);
}
