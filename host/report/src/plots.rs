//! Plots as SVG, drawn by the crate `plotters`.
//!
//! `plotters` writes colours as attributes. So that one drawing serves light, dark and paper,
//! each role has a colour of its own here that stands for nothing, and the style sheet gives
//! it the real one: `.plot [fill="#F00001"]{fill:var(--ink)}`.

use crate::jobs::{Job, Schedule};
use crate::text;
use dsperse_documents::{ComparedElement, ComparedTensor};
use plotters::prelude::*;
use std::fmt::Write as _;

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Text and axes.
const INK: RGBColor = RGBColor(0xF0, 0x00, 0x01);
/// Grid lines.
const GRID: RGBColor = RGBColor(0xF0, 0x00, 0x02);
/// First series.
const ONE: RGBColor = RGBColor(0xF0, 0x00, 0x03);
/// Second series.
const TWO: RGBColor = RGBColor(0xF0, 0x00, 0x04);
/// What must be noticed.
const LIMIT: RGBColor = RGBColor(0xF0, 0x00, 0x05);

/// The roles of plot colours, for the style sheet: attribute value and variable.
pub const ROLES: [(&str, &str); 5] = [
    ("#F00001", "--muted"),
    ("#F00002", "--line"),
    ("#F00003", "--series-1"),
    ("#F00004", "--series-2"),
    ("#F00005", "--limit"),
];

/// A point of a plot over the slices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Slice index, the depth.
    pub x: f64,
    /// Value.
    pub y: f64,
}

/// Float value against the difference, both relative to the tensor's largest magnitude; with
/// the float value against the proven one beside it.
#[must_use]
pub fn scatter(tensors: &[ComparedTensor]) -> Option<(String, String)> {
    let pairs = relative(tensors);
    if pairs.is_empty() {
        return None;
    }
    let both = square(
        &pairs,
        "float value",
        "proven value",
        Some((-1.05, 1.05)),
        true,
    );
    let most = pairs.iter().map(|(a, b)| (b - a).abs()).fold(0.0, f64::max);
    let reach = (most * 1.1).max(1e-12);
    let differences: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*a, b - a)).collect();
    let apart = square(
        &differences,
        "float value",
        "difference",
        Some((-reach, reach)),
        false,
    );
    Some((finish(both)?, finish(apart)?))
}

/// Pairs of all tensors, each divided by the largest float magnitude of its tensor's sample.
fn relative(tensors: &[ComparedTensor]) -> Vec<(f64, f64)> {
    let mut pairs = Vec::new();
    for t in tensors {
        let values: Vec<(f64, f64)> = t.sample.iter().filter_map(finite).collect();
        let scale = values.iter().fold(0f64, |m, (a, _)| m.max(a.abs()));
        if scale > 0.0 {
            pairs.extend(values.into_iter().map(|(a, b)| (a / scale, b / scale)));
        }
    }
    // As many as a screen can tell apart.
    let step = pairs.len().div_ceil(1500).max(1);
    pairs.into_iter().step_by(step).collect()
}

pub(crate) fn finite(e: &ComparedElement) -> Option<(f64, f64)> {
    e.expected.zip(e.found)
}

fn square(
    points: &[(f64, f64)],
    x_name: &str,
    y_name: &str,
    y_range: Option<(f64, f64)>,
    diagonal: bool,
) -> Drawn<String> {
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (440, 340)).into_drawing_area();
        let (low, high) = y_range.unwrap_or((-1.0, 1.0));
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(66)
            .build_cartesian_2d(-1.05..1.05, low..high)?;
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(5)
            .x_desc(x_name)
            .y_desc(y_name)
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
            .y_label_formatter(&|v| tick(*v))
            .x_label_formatter(&|v| tick(*v))
            .draw()?;
        if diagonal {
            chart.draw_series(LineSeries::new([(-1.0, -1.0), (1.0, 1.0)], GRID))?;
        }
        chart.draw_series(
            points
                .iter()
                .map(|p| Circle::new(*p, 2, ONE.mix(0.55).filled())),
        )?;
        root.present()?;
    }
    Ok(out)
}

fn tick(v: f64) -> String {
    if v == 0.0 || v.abs() < 1e-15 {
        "0".to_owned()
    } else if (0.01..1000.0).contains(&v.abs()) {
        let text = format!("{v:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{v:.0e}")
    }
}

/// What the plot over the depth shows.
#[derive(Debug, Clone, Default)]
pub struct Depth {
    /// The error of each slice by itself.
    pub own: Vec<Point>,
    /// The error of the whole chain up to each slice.
    pub chain: Vec<Point>,
    /// What each slice was allowed.
    pub budget: Vec<Point>,
    /// What the whole model is allowed.
    pub limit: Option<f64>,
}

/// Errors below this are drawn here: a logarithm has no zero.
const FLOOR: f64 = 1e-9;

/// The error along the depth of the model, on a logarithmic scale.
#[must_use]
pub fn depth(d: &Depth, slices: usize) -> Option<String> {
    lines(
        &[
            Series {
                points: &d.chain,
                color: ONE,
                joined: true,
            },
            Series {
                points: &d.own,
                color: TWO,
                joined: false,
            },
        ],
        &d.budget,
        d.limit,
        slices,
        "relative error",
        FLOOR,
    )
}

/// One figure of two runs over the slices, on a logarithmic scale.
#[must_use]
pub fn compared(a: &[Point], b: &[Point], slices: usize, unit: &str, floor: f64) -> Option<String> {
    lines(
        &[
            Series {
                points: a,
                color: ONE,
                joined: true,
            },
            Series {
                points: b,
                color: TWO,
                joined: true,
            },
        ],
        &[],
        None,
        slices,
        unit,
        floor,
    )
}

struct Series<'a> {
    points: &'a [Point],
    color: RGBColor,
    joined: bool,
}

fn lines(
    series: &[Series<'_>],
    marks: &[Point],
    limit: Option<f64>,
    slices: usize,
    unit: &str,
    floor: f64,
) -> Option<String> {
    let all = || {
        let points = series.iter().flat_map(|s| s.points).chain(marks);
        let values = points.map(|p| p.y.max(floor));
        values.chain(limit).filter(|v| v.is_finite())
    };
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) || high <= 0.0 {
        return None;
    }
    // Whole powers of ten, so that the axis has marks that can be read.
    let low = 10f64.powf((low.log10() - 0.05).floor());
    let high = 10f64.powf((high.log10() + 0.05).ceil()).max(low * 10.0);
    let drawn = draw_lines(series, marks, limit, slices, unit, floor, low..high);
    finish(drawn)
}

fn draw_lines(
    series: &[Series<'_>],
    marks: &[Point],
    limit: Option<f64>,
    slices: usize,
    unit: &str,
    floor: f64,
    range: std::ops::Range<f64>,
) -> Drawn<String> {
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (900, 320)).into_drawing_area();
        let right = (slices.max(2) - 1) as f64;
        let pad = (right * 0.01).max(0.05);
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(-pad..right + pad, range.log_scale())?;
        chart
            .configure_mesh()
            .x_labels(slices.clamp(2, 16))
            .x_desc("slice")
            .y_desc(unit)
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
            .x_label_formatter(&|v| {
                if v.fract().abs() < 1e-9 && *v >= 0.0 {
                    format!("{v:.0}")
                } else {
                    String::new()
                }
            })
            .y_label_formatter(&|v| format!("{v:.0e}"))
            .draw()?;
        if let Some(limit) = limit {
            chart.draw_series(DashedLineSeries::new(
                [(-pad, limit), (right + pad, limit)],
                6,
                4,
                LIMIT.stroke_width(2),
            ))?;
        }
        // What a slice is allowed: a short dash at its place.
        let half = (right / slices.max(1) as f64 * 0.35).max(0.02);
        for p in marks {
            chart.draw_series(std::iter::once(PathElement::new(
                vec![
                    ((p.x - half).max(-pad), p.y.max(floor)),
                    ((p.x + half).min(right + pad), p.y.max(floor)),
                ],
                LIMIT.stroke_width(1),
            )))?;
        }
        for s in series {
            let points = || s.points.iter().map(|p| (p.x, p.y.max(floor)));
            if s.joined {
                chart.draw_series(LineSeries::new(points(), s.color.stroke_width(2)))?;
                chart.draw_series(points().map(|p| Circle::new(p, 3, s.color.filled())))?;
            } else {
                chart.draw_series(points().map(|p| Circle::new(p, 4, s.color.stroke_width(2))))?;
            }
        }
        root.present()?;
    }
    Ok(out)
}

/// Strips what an SVG inside HTML does not need. `None` when the plot could not be drawn,
/// which only a fault of this file can cause: the page goes without it.
fn finish(drawn: Drawn<String>) -> Option<String> {
    let svg = drawn.ok()?;
    let at = svg.find("<svg")?;
    let svg = svg[at..].replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    // The page scales plots; a fixed size would stick out on a phone.
    let (head, rest) = svg.split_once('>')?;
    let head = head
        .split(' ')
        .filter(|a| !a.starts_with("width=") && !a.starts_with("height="))
        .collect::<Vec<_>>()
        .join(" ");
    // What thousands of points have in common stands once, in the style sheet.
    let rest = rest.replace(" font-family=\"sans-serif\"", "").replace(
        " r=\"2\" opacity=\"0.55\" fill=\"#F00003\" stroke=\"none\"",
        " class=\"p\"",
    );
    Some(format!(
        "{head} class=\"plot\" aria-hidden=\"true\" focusable=\"false\">{}",
        rest.trim_end()
    ))
}

/// A small scatter of one tensor in one path, `side` pixels wide.
#[must_use]
pub fn spark(sample: &[ComparedElement], side: f64) -> Option<String> {
    let values: Vec<(f64, f64)> = sample.iter().filter_map(finite).collect();
    let all = || values.iter().flat_map(|(a, b)| [*a, *b]);
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() || !(high - low).is_finite() {
        return None;
    }
    let scale = if high > low {
        (side - 8.0) / (high - low)
    } else {
        0.0
    };
    let mut path = String::new();
    for (a, b) in values {
        let (x, y) = (4.0 + (a - low) * scale, side - 4.0 - (b - low) * scale);
        let _ = write!(path, "M{x:.0} {y:.0}h0");
    }
    Some(path)
}

/// A bar of a timeline, in pixels.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Bar {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// The slice.
    pub slice: usize,
    /// Whether its number fits in.
    pub labelled: bool,
    /// Whether the job failed.
    pub failed: bool,
    /// The whole story.
    pub tip: String,
}

/// A stage on its time axis.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Timeline {
    /// The stage's word.
    pub stage: &'static str,
    /// When it began, in words.
    pub began: Option<String>,
    /// How long it took from the first start to the last end.
    pub span: String,
    /// Sum over jobs, in words.
    pub busy: String,
    /// Lanes.
    pub lanes: usize,
    /// Height of the drawing.
    pub height: f64,
    /// Bars.
    pub bars: Vec<Bar>,
    /// Marks of the axis: place and word.
    pub ticks: Vec<(f64, String)>,
}

/// Width of a timeline, in pixels; its height follows from the lanes.
pub const TIMELINE_WIDTH: f64 = 960.0;
const LANE: f64 = 20.0;
const AXIS: f64 = 22.0;
/// The axis ends before the drawing, so that its last word fits in.
const RIGHT: f64 = 40.0;

/// A stage on its time axis.
#[must_use]
pub fn timeline(s: &Schedule, jobs: &[Job]) -> Timeline {
    let span = s.span.max(1e-6);
    let scale = (TIMELINE_WIDTH - RIGHT) / span;
    let bars = s
        .jobs
        .iter()
        .map(|p| {
            let j = &jobs[p.job];
            let width = (j.usage.seconds * scale).max(1.5);
            Bar {
                x: round(p.start * scale),
                y: p.lane as f64 * LANE,
                width: round(width),
                slice: j.slice,
                labelled: width > 8.0 * (j.slice.to_string().len() as f64 + 1.0),
                failed: !j.success,
                tip: format!(
                    "slice {}, {} by {}: {} ({} CPU, peak {}), worker {}",
                    j.slice,
                    j.stage.word(),
                    j.backend,
                    text::seconds(j.usage.seconds),
                    text::seconds(j.usage.cpu_seconds),
                    text::bytes(j.usage.peak_bytes),
                    p.lane + 1
                ),
            }
        })
        .collect();
    let busy: f64 = s.jobs.iter().map(|p| jobs[p.job].usage.seconds).sum();
    Timeline {
        stage: s.stage.word(),
        began: s.began.and_then(text::moment),
        span: text::seconds(s.span),
        busy: text::seconds(busy),
        lanes: s.lanes,
        height: s.lanes as f64 * LANE + AXIS,
        bars,
        ticks: ticks(span)
            .into_iter()
            .map(|t| (round(t * scale), text::seconds(t)))
            .collect(),
    }
}

fn round(v: f64) -> f64 {
    (v * 10.0).round() / 10.0
}

/// Round marks from 0 to the end, five or so.
fn ticks(span: f64) -> Vec<f64> {
    let rough = span / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(rough);
    let n = (span / step).floor() as usize;
    (0..=n.min(20)).map(|k| k as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u64, off: f64) -> Vec<ComparedElement> {
        (0..n)
            .map(|k| ComparedElement {
                element: k,
                expected: Some(k as f64 - 3.0),
                found: Some(k as f64 - 3.0 + off),
            })
            .collect()
    }

    #[test]
    fn plots_have_no_fixed_size_no_colour_of_their_own_and_no_address() {
        let t = ComparedTensor {
            sample: sample(20, 0.01),
            ..ComparedTensor::default()
        };
        let (both, apart) = scatter(&[t]).expect("two plots");
        for svg in [both, apart] {
            assert!(!svg.contains("http"), "{svg}");
            assert!(svg.starts_with("<svg "));
            let head = svg.split('>').next().unwrap_or_default();
            assert!(
                !head.contains(" width=") && head.contains("viewBox"),
                "{head}"
            );
            for colour in svg.split("=\"#").skip(1) {
                let colour = format!("#{}", &colour[..6]);
                assert!(ROLES.iter().any(|(c, _)| *c == colour), "{colour}");
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let mut s = sample(3, 0.0);
        s[1].found = None;
        let path = spark(&s, 100.0).expect("a path");
        assert_eq!(path.matches('M').count(), 2);
        assert!(spark(&[], 100.0).is_none());
    }

    #[test]
    fn an_error_of_zero_is_drawn_at_the_floor() {
        let d = Depth {
            chain: vec![Point { x: 0.0, y: 0.0 }, Point { x: 1.0, y: 0.5 }],
            ..Depth::default()
        };
        assert!(depth(&d, 2).expect("a plot").contains("circle"));
        assert!(depth(&Depth::default(), 2).is_none());
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.9).len(), 5);
    }
}
