//! Line charts as SVG with the colours of the surrounding page.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

/// The number of line colours in the page's style: `--line0` and on.
pub(crate) const COLOURS: usize = 6;

/// Placeholder colours. They are replaced by the page's own after the drawing.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(4, 5, 6);
const LINES: [RGBColor; COLOURS] = [
    RGBColor(0, 0, 16),
    RGBColor(0, 0, 32),
    RGBColor(0, 0, 48),
    RGBColor(0, 0, 64),
    RGBColor(0, 0, 80),
    RGBColor(0, 0, 96),
];

/// Twice the displayed size, since coordinates are integers.
const SIZE: (u32, u32) = (1760, 520);
const FONT: u32 = 27;

/// Maximum number of points of a line that has a mark at each point.
const MARKED: usize = 40;

/// A line. It has a gap at each point without a value.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The index of the colour in the page's style.
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// An axis over a range, with labelled ticks.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) range: (f64, f64),
    pub(crate) ticks: Vec<(f64, String)>,
}

pub(crate) fn draw(x: &Axis, y: &Axis, lines: &[Line]) -> Result<String, String> {
    let mut svg = String::new();
    draw_into(&mut svg, x, y, lines).map_err(|error| format!("cannot draw a chart: {error}"))?;
    let mut svg = svg
        .replace(&attribute(TEXT), "\"currentColor\"")
        .replace(&attribute(GRID), "\"var(--grid)\"");
    for (n, &colour) in LINES.iter().enumerate() {
        svg = svg.replace(&attribute(colour), &format!("\"var(--line{n})\""));
    }
    Ok(svg)
}

fn attribute(RGBColor(r, g, b): RGBColor) -> String {
    format!("\"#{r:02X}{g:02X}{b:02X}\"")
}

fn draw_into(svg: &mut String, x: &Axis, y: &Axis, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin_top(20)
        .margin_right(50)
        .x_label_area_size(50)
        .y_label_area_size(150)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(GRID.stroke_width(2))
        .label_style(("sans-serif", FONT).into_font().color(&TEXT))
        .draw()?;
    for line in lines {
        let colour = LINES[line.colour % COLOURS];
        for piece in line.points.split(|(_, value)| value.is_none()) {
            let points = piece.iter().filter_map(|&(x, value)| Some((x, value?)));
            let points: Vec<_> = points.collect();
            if line.points.len() <= MARKED {
                let mark = |&point: &(f64, f64)| Circle::new(point, 5, colour.filled());
                chart.draw_series(points.iter().map(mark))?;
            }
            chart.draw_series(LineSeries::new(points, colour.stroke_width(4)))?;
        }
    }
    drop(chart);
    area.present()?;
    Ok(())
}

impl Axis {
    /// A linear axis from 0 to a little above `top`, with ticks at round values.
    pub(crate) fn linear(top: f64, label: fn(f64) -> String) -> Self {
        // A file may contain any number. The steps below must be finite and countable.
        let top = if (1e-9..1e300).contains(&top) { top } else { 1.0 };
        let rough = top / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0];
        let step = steps.iter().map(|step| step * power).find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let count = (top / step + 1e-9).floor() as u32;
        let ticks = (0..=count).map(|n| f64::from(n) * step);
        Self { range: (0.0, top * 1.05), ticks: ticks.map(|value| (value, label(value))).collect() }
    }

    /// A logarithmic axis from `bottom` to `top`. Lines on it must hold logarithms.
    pub(crate) fn logarithmic(bottom: f64, top: f64, label: fn(f64) -> String) -> Self {
        let (bottom, top) = (bottom.max(1.0), top.max(2.0));
        let range = (bottom.log10() - 0.05, top.log10() + 0.05);
        // As many ticks per power of ten as fit, but at least three in total.
        let steps: [&[f64]; 4] =
            [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]];
        let coarsest = match range.1 - range.0 {
            width if width < 2.0 => 2,
            width if width < 4.0 => 1,
            _ => 0,
        };
        let ticks = |steps: &[f64]| -> Vec<f64> {
            let powers = range.0.floor() as i32..=range.1.ceil() as i32;
            let values = powers.flat_map(|power| steps.iter().map(move |s| s * 10f64.powi(power)));
            values.filter(|value| (range.0..=range.1).contains(&value.log10())).collect()
        };
        let enough = steps[coarsest..].iter().map(|steps| ticks(steps));
        let ticks = enough.into_iter().find(|ticks| ticks.len() >= 3);
        let ticks = ticks.unwrap_or_else(|| {
            let width = range.1 - range.0;
            [0.1, 0.5, 0.9].map(|part| 10f64.powf(range.0 + part * width)).to_vec()
        });
        let labelled = ticks.into_iter().map(|value| (value.log10(), label(value)));
        Self { range, ticks: labelled.collect() }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = self.range;
        let part = (value - low) / (high - low);
        // Values from a file may be far outside the chart, where nothing is visible.
        let part = part.clamp(-10.0, 10.0);
        from + (part * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    #[expect(clippy::float_cmp, reason = "ticks are asked for as they were given")]
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| tick == value);
        tick.map_or(String::new(), |(_, label)| label.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_ticks_and_the_pages_colours() {
        let x = Axis::linear(10.0, |value| format!("{value} s"));
        let y = Axis::logarithmic(30_000.0, 2_000_000.0, |value| format!("{value:.0}"));
        let points = vec![(0.0, Some(5.0)), (1.0, None), (2.0, Some(6.0)), (3.0, Some(5.5))];
        let line = Line { colour: 1, points };
        let svg = draw(&x, &y, &[line]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<polyline").filter(|_| true).count(), 2 + axes(&svg));
        assert_eq!(svg.matches("<circle").count(), 3);
        for expected in ["var(--line1)", "var(--grid)", "currentColor", "10 s", "1000000"] {
            assert!(svg.contains(expected), "{expected} in {svg}");
        }
        assert!(!svg.contains("\"#"), "{svg}");
    }

    /// How many polylines are not drawn in the colour of a line.
    fn axes(svg: &str) -> usize {
        let polylines = svg.split("<polyline").skip(1);
        polylines.filter(|text| !text[..text.find('>').unwrap()].contains("--line")).count()
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let labels =
            |axis: &Axis| -> Vec<_> { axis.ticks.iter().map(|(_, label)| label.clone()).collect() };
        let linear = Axis::linear(1_900_000.0, |value| format!("{value}"));
        assert_eq!(labels(&linear), ["0", "500000", "1000000", "1500000"]);
        assert_eq!(labels(&Axis::linear(0.0, |value| format!("{value:.1}"))).len(), 6);
        let log = Axis::logarithmic(90.0, 600.0, |value| format!("{value}"));
        assert_eq!(labels(&log), ["100", "200", "500"]);
        let log = Axis::logarithmic(5.0, 4e8, |value| format!("{value}"));
        assert_eq!(labels(&log).len(), 8);
    }

    #[test]
    fn every_axis_has_three_ticks_whatever_a_file_claims() {
        let label = |value| format!("{value}");
        let absurd = [0.0, 5e-324, 1e-12, 0.3, 1.0, 7.0, 1e9, 1e18, 1e300, 1.7e308, f64::INFINITY];
        for top in absurd {
            let axis = Axis::linear(top, label);
            assert!((3..12).contains(&axis.ticks.len()), "{top}: {axis:?}");
            for bottom in absurd.into_iter().filter(|bottom| *bottom <= top) {
                let axis = Axis::logarithmic(bottom, top.min(1.8e19), label);
                assert!((3..40).contains(&axis.ticks.len()), "{bottom} to {top}: {axis:?}");
                let line =
                    Line { colour: 0, points: vec![(bottom, Some(top)), (top, Some(bottom))] };
                draw(&Axis::linear(bottom, label), &axis, &[line]).unwrap();
            }
        }
    }
}
