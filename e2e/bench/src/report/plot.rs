//! Plots as SVG: a few lines and bars need no library.

use std::fmt::Write as _;

use super::{Plot, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Upper bound of the average width of a letter.
const LETTER: f64 = 6.4;
/// Height of a bar and the space below it.
const BAR: f64 = 26.0;
const COLOURS: [&str; 8] = [
    "#0b6e4f", "#c8553d", "#3d5a80", "#e0a030", "#7b4b94", "#4a4a4a", "#2aa5a0", "#b03060",
];

/// Draws a plot.
pub fn svg(plot: &Plot) -> String {
    let body = if plot.x.is_empty() {
        bars(plot)
    } else {
        lines(plot)
    };
    let height = if plot.x.is_empty() {
        TOP + BAR * plot.series.len() as f64 + 20.0
    } else {
        HEIGHT
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>\n{body}</svg>\n",
        escaped(&plot.title)
    )
}

fn bars(plot: &Plot) -> String {
    let most = highest(plot);
    let longest = plot.series.iter().map(|series| series.name.chars().count()).max();
    let left = 20.0 + LETTER * longest.unwrap_or(0) as f64;
    let room = WIDTH - left - 80.0;
    let mut body = String::new();
    for (index, series) in plot.series.iter().enumerate() {
        let value = series.points.first().map_or(0.0, |point| point.1);
        let (y, width) = (TOP + BAR * index as f64, room * value / most);
        let colour = COLOURS[index % COLOURS.len()];
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{} {}</text>",
            left - 8.0,
            y + 14.0,
            escaped(&series.name),
            BAR - 8.0,
            left + width + 6.0,
            y + 14.0,
            number(value),
            escaped(&plot.y)
        );
    }
    body
}

fn lines(plot: &Plot) -> String {
    let scale = Scale::of(plot);
    let mut body = scale.axes(plot);
    for (index, series) in plot.series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let at: Vec<String> = series
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", scale.x(point.0), scale.y(point.1)))
            .collect();
        let _ = writeln!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            at.join(" ")
        );
        for point in &at {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 8.0 + 18.0 * index as f64);
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            y - 9.0,
            x + 16.0,
            escaped(&series.name)
        );
    }
    body
}

/// Scale of the axes: horizontally logarithmic, vertically linear from zero.
struct Scale {
    least: f64,
    most: f64,
    top: f64,
}

impl Scale {
    fn of(plot: &Plot) -> Self {
        let xs = || {
            plot.series
                .iter()
                .flat_map(|series| &series.points)
                .map(|point| point.0)
        };
        Self {
            least: xs().fold(f64::INFINITY, f64::min).max(1e-9).log10(),
            most: xs().fold(1.0, f64::max).log10(),
            top: highest(plot) * 1.05,
        }
    }

    fn x(&self, value: f64) -> f64 {
        let width = (self.most - self.least).max(1e-9);
        LEFT + (WIDTH - LEFT - RIGHT) * (value.max(1e-9).log10() - self.least) / width
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top
    }

    fn axes(&self, plot: &Plot) -> String {
        let (end, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut body = format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"16\" y=\"{:.1}\" transform=\"rotate(-90 16 {:.1})\" \
             text-anchor=\"middle\">{}</text>\n",
            f64::midpoint(LEFT, end),
            HEIGHT - 10.0,
            escaped(&plot.x),
            HEIGHT / 2.0,
            HEIGHT / 2.0,
            escaped(&plot.y)
        );
        for step in 0..=5 {
            let value = self.top * f64::from(step) / 5.0;
            let y = self.y(value);
            let _ = writeln!(
                body,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let mut ticks: Vec<f64> = plot
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.0)
            .collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        for tick in ticks {
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
                self.x(tick),
                floor + 16.0
            );
        }
        body
    }
}

fn highest(plot: &Plot) -> f64 {
    let ys = plot
        .series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.1);
    ys.fold(1e-9, f64::max)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Series;

    fn plot(x: &str) -> Plot {
        let series = |name: &str, points: &[(f64, f64)]| Series {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        Plot {
            name: "p".into(),
            title: "a < b".into(),
            x: x.into(),
            y: "ns".into(),
            series: vec![
                series("xdp-operator", &[(1.0, 80.0), (100.0, 90.0)]),
                series("rival", &[(1.0, 200.0)]),
            ],
        }
    }

    #[test]
    fn lines_stay_inside_and_higher_values_are_higher_up() {
        let plot = plot("rules");
        let scale = Scale::of(&plot);
        assert!(scale.y(200.0) < scale.y(80.0));
        assert!(scale.y(200.0) >= TOP && scale.y(0.0) <= HEIGHT - BOTTOM);
        assert!((scale.x(1.0) - LEFT).abs() < 0.1 && (scale.x(100.0) - (WIDTH - RIGHT)).abs() < 0.1);
        let drawn = svg(&plot);
        assert!(
            drawn.contains("a &lt; b") && drawn.matches("<polyline").count() == 2,
            "{drawn}"
        );
    }

    #[test]
    fn bars_are_labelled_with_their_values() {
        let drawn = svg(&plot(""));
        assert!(
            drawn.contains(">80.0 ns<") && drawn.contains(">200 ns<"),
            "{drawn}"
        );
    }
}
