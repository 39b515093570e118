//! The charts of a result folder, as SVG: ratios per workload, latency by percentile, resident memory over time.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

use crate::allocators::Allocator;
use crate::args::Statistic;
use crate::launch::CENTILES;
use crate::measure::{Figure, Row};
use crate::memory::Course;

/// Colours that people with colour blindness can tell apart (Okabe and Ito, "Color universal design", 2008); ours is the first.
const OURS: RGBColor = RGBColor(213, 94, 0);
const OTHERS: [RGBColor; 7] = [
    RGBColor(0, 0, 0),
    RGBColor(150, 150, 150),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];
const WIDTH: u32 = 860;
const ROW_HEIGHT: u32 = 24;
/// What is further from 1 is drawn at the edge.
const RATIOS: Range<f64> = 0.2..5.0;
/// The axis goes on, to have room for the legend.
const RATIO_AXIS_END: f64 = 11.0;
const RATIO_MARKS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0];
const FONT: &str = "sans-serif";

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A figure by the place of its percentile.
type OfCentile = fn(usize) -> Figure;

/// A chart's file name and its text.
pub type Chart = (&'static str, String);

fn colour(index: usize, allocators: &[Allocator]) -> RGBColor {
    if allocators[index].ours { OURS } else { OTHERS[index % OTHERS.len()] }
}

/// All charts for which there are figures.
pub fn all(
    rows: &[Row],
    allocators: &[Allocator],
    courses: &[Course],
    statistic: Statistic,
) -> Result<Vec<Chart>, String> {
    let mut charts = Vec::new();
    for (name, figure, title) in [
        ("cpu.svg", Figure::Cpu, "CPU time, ratio to mimalloc (less is better)"),
        ("rss.svg", Figure::PeakRss, "Peak resident memory, ratio to mimalloc (less is better)"),
        ("scaling.svg", Figure::Wall, "Time on the clock, ratio to mimalloc (less is better)"),
    ] {
        let shown: Vec<&Row> = rows.iter().filter(|row| figure.is_of(row.workload.group)).collect();
        if !shown.is_empty() {
            let height = 110 + ROW_HEIGHT * shown.len() as u32;
            charts.push((
                name,
                draw(height, |area| ratios(area, title, &shown, allocators, figure, statistic))?,
            ));
        }
    }
    let calls = [
        ("latency-malloc.svg", "Latency of one malloc under load, nanoseconds", Figure::Malloc as OfCentile),
        ("latency-free.svg", "Latency of one free under load, nanoseconds", Figure::Free),
    ];
    for (name, title, figure) in calls {
        if let Some(row) = rows.iter().find(|row| row.cells[0].value(figure(0), statistic).is_some()) {
            charts.push((name, draw(420, |area| latency(area, title, row, allocators, figure, statistic))?));
        }
    }
    for course in courses {
        charts.push((course.chart, draw(420, |area| memory(area, course, allocators))?));
    }
    Ok(charts)
}

fn draw(height: u32, paint: impl FnOnce(&Area) -> Drawn) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let painted = area.fill(&WHITE).map_err(Into::into).and_then(|()| paint(&area));
        painted.and_then(|()| Ok(area.present()?)).map_err(|why| format!("cannot draw a chart: {why}"))?;
    }
    Ok(text)
}

/// One line of dots per workload.
fn ratios(
    area: &Area,
    title: &str,
    rows: &[&Row],
    allocators: &[Allocator],
    figure: Figure,
    statistic: Statistic,
) -> Drawn {
    let count = rows.len();
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(130)
        .build_cartesian_2d(
            (RATIOS.start..RATIO_AXIS_END).log_scale().with_key_points(RATIO_MARKS.to_vec()),
            Places { count },
        )?;
    let name = |place: &f64| {
        let index = (count as f64 - place).round();
        rows.get(index as usize).map_or(String::new(), |row| row.workload.name.to_owned())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .x_label_formatter(&|ratio| format!("{ratio}"))
        .y_labels(count)
        .y_label_formatter(&name)
        .y_label_style((FONT, 13))
        .draw()?;
    chart
        .draw_series(std::iter::once(PathElement::new(vec![(1.0, 0.5), (1.0, count as f64 + 0.5)], BLACK)))?;
    // The base is the line; ours is drawn last, on top.
    let (ours, others): (Vec<usize>, Vec<usize>) =
        (1..allocators.len()).partition(|&index| allocators[index].ours);
    for index in others.into_iter().chain(ours) {
        let ours = allocators[index].ours;
        let (colour, size) = (colour(index, allocators), if ours { 6 } else { 4 });
        let dots = rows.iter().enumerate().filter_map(|(place, row)| {
            let ratio = row.ratio(index, figure, statistic)?.clamp(RATIOS.start, RATIOS.end);
            Some(Circle::new((ratio, (count - place) as f64), size, colour.filled()))
        });
        chart
            .draw_series(dots)?
            .label(&allocators[index].name)
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    legend(&mut chart)
}

/// Rows by number, from the bottom.
struct Places {
    count: usize,
}

impl Ranged for Places {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - 0.5) / self.count as f64;
        limit.0 + (share * f64::from(limit.1 - limit.0)) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        (1..=self.count).map(|place| place as f64).collect()
    }

    fn range(&self) -> Range<f64> {
        0.5..self.count as f64 + 0.5
    }
}

impl ValueFormatter<f64> for Places {
    fn format_ext(&self, value: &f64) -> String {
        value.to_string()
    }
}

/// How far a percentile lies from 100 %, in decades: so that each further nine takes as much room.
fn nines(centile: f64) -> f64 {
    -((100.0 - centile).max(0.000_5) / 100.0).log10()
}

fn latency(
    area: &Area,
    title: &str,
    row: &Row,
    allocators: &[Allocator],
    figure: OfCentile,
    statistic: Statistic,
) -> Drawn {
    let lines: Vec<Vec<(f64, f64)>> = (0..allocators.len())
        .map(|index| {
            let point = |(place, &centile): (usize, &f64)| {
                Some((nines(centile), row.cells[index].value(figure(place), statistic)?))
            };
            // The largest of all is one call of millions: chance.
            CENTILES.iter().enumerate().take(CENTILES.len() - 1).filter_map(point).collect()
        })
        .collect();
    let largest = lines.iter().flatten().map(|point| point.1).fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(nines(50.0)..5.2, (10.0..largest * 50.0).log_scale())?;
    let percent = |decades: &f64| match decades.round() as u32 {
        0 => String::new(),
        1 => "90 %".to_owned(),
        whole => format!("99{}{} %", if whole > 2 { "." } else { "" }, "9".repeat(whole as usize - 2)),
    };
    chart
        .configure_mesh()
        .x_labels(5)
        .x_label_formatter(&percent)
        .light_line_style(RGBColor(240, 240, 240))
        .y_label_formatter(&|ns| format!("{ns}"))
        .draw()?;
    draw_lines(&mut chart, lines, allocators)?;
    legend(&mut chart)
}

fn memory(area: &Area, course: &Course, allocators: &[Allocator]) -> Drawn {
    let lines: Vec<Vec<(f64, f64)>> = course
        .of_allocators
        .iter()
        .map(|points| {
            points.iter().map(|point| (point.ms as f64 / 1000.0, point.kib as f64 / 1024.0)).collect()
        })
        .collect();
    let largest = |axis: fn(&(f64, f64)) -> f64| lines.iter().flatten().map(axis).fold(0.1, f64::max);
    let (seconds, mib) = (largest(|point| point.0), largest(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(course.title, (FONT, 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..seconds * 1.05, 0.0..mib * 1.6)?;
    chart
        .configure_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .x_desc("seconds")
        .y_desc("MiB resident")
        .draw()?;
    draw_lines(&mut chart, lines, allocators)?;
    legend(&mut chart)
}

type Lines<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn draw_lines<X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut Lines<X, Y>,
    lines: Vec<Vec<(f64, f64)>>,
    allocators: &[Allocator],
) -> Drawn {
    for (index, line) in lines.into_iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let style = colour(index, allocators).stroke_width(if allocators[index].ours { 3 } else { 1 });
        chart
            .draw_series(LineSeries::new(line, style))?
            .label(&allocators[index].name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
    }
    Ok(())
}

fn legend<'a, 'b: 'a, X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut Lines<'a, 'b, X, Y>,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 13))
        .draw()?;
    Ok(())
}
