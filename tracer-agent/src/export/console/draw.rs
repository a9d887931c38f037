//! The waterfall: a line a span, its tree to the left, its time to the right.
//!
//! A bar is thick where the span itself spends the time and thin where a child does, so that the slowest
//! leaf is the one thick bar; `◀` marks it.

use std::fmt::Write as _;

use super::{
    ConsoleSettings,
    collect::{Row, Trace},
    text::{columns, count, duration, fit},
    tree::{Placed, place},
};
use crate::spans::span::SpanKind;

/// Columns of the duration and of the mark behind it, with their spaces.
const DURATION: usize = 10;
const MARK: usize = 2;
/// Below this a line has no bar.
const MIN_BAR: usize = 10;
const MIN_LABEL: usize = 16;

/// How a piece of text looks on a terminal that knows colours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Bold,
    Dim,
    Error,
    /// The colour of a service.
    Service(usize),
    /// Most time of its own.
    Slowest,
}

impl Style {
    /// SGR parameters. Red is for errors alone, yellow for the slowest.
    const fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Error => "31",
            Self::Slowest => "1;33",
            Self::Service(place) => match place % 5 {
                0 => "36",
                1 => "32",
                2 => "35",
                3 => "34",
                _ => "96",
            },
        }
    }
}

/// One trace, with its heading, ending in an empty line.
pub fn trace(trace: &Trace, settings: &ConsoleSettings) -> String {
    let placed = place(&trace.rows);
    let services = services(&placed);
    let window = trace.window();
    let slowest = slowest(&placed);
    let mut page = Page {
        out: String::new(),
        settings,
    };
    page.heading(trace, services.len(), window);
    let labels: Vec<_> = placed
        .iter()
        .map(|span| Label::new(span, settings.verbose))
        .collect();
    let layout = Layout::new(
        settings.width,
        labels.iter().map(Label::columns).max().unwrap_or_default(),
    );
    for (place, (span, label)) in placed.iter().zip(&labels).enumerate() {
        let service = services
            .iter()
            .position(|known| *known == span.row.service)
            .unwrap_or_default();
        page.notes(span);
        page.line(span, label, &layout, window, service, slowest == Some(place));
    }
    if trace.omitted > 0 {
        page.note(&format!(
            "… {} more of this trace are not shown",
            count(trace.omitted, "span")
        ));
    }
    page.out.push('\n');
    page.out
}

/// Services in the order in which they appear.
fn services<'a>(placed: &[Placed<'a>]) -> Vec<&'a str> {
    let mut services = Vec::new();
    for span in placed {
        if !services.contains(&span.row.service.as_str()) {
            services.push(span.row.service.as_str());
        }
    }
    services
}

/// The span with the most time of its own; there is none to tell apart in a trace of one span.
fn slowest(placed: &[Placed<'_>]) -> Option<usize> {
    let (place, span) = placed
        .iter()
        .enumerate()
        .max_by_key(|(place, span)| (span.own, *place))?;
    (placed.len() > 1 && span.own > 0).then_some(place)
}

/// How the columns are shared out.
struct Layout {
    label: usize,
    bar: usize,
}

impl Layout {
    fn new(width: usize, longest_label: usize) -> Self {
        let room = width.saturating_sub(DURATION + MARK);
        if room < MIN_LABEL + 1 + MIN_BAR {
            return Self { label: room, bar: 0 };
        }
        let label = longest_label.clamp(MIN_LABEL, (room * 3 / 5).max(MIN_LABEL));
        Self {
            label,
            bar: room - label - 1,
        }
    }
}

/// The left part of a line. Where it does not fit, the path gives way first.
struct Label<'a> {
    lead: &'a str,
    service: &'a str,
    what: String,
    path: String,
    status: String,
    trouble: String,
    extra: String,
}

impl<'a> Label<'a> {
    fn new(span: &'a Placed<'_>, verbose: bool) -> Self {
        let row = span.row;
        let is_call = row.kind == SpanKind::Client;
        let service = if is_call && span.in_service_of_parent {
            ""
        } else {
            row.service.as_str()
        };
        let arrow = if is_call { "→ " } else { "" };
        let gap = if service.is_empty() { "" } else { " " };
        // Where the called service was not seen, its address is all that tells which it is.
        let server = if is_call && span.children.is_empty() {
            row.server.as_str()
        } else {
            ""
        };
        let path = match format!("{server}{}", row.path) {
            path if path.is_empty() => path,
            path => format!(" {path}"),
        };
        Self {
            lead: &span.lead,
            service,
            what: format!("{gap}{arrow}{}", row.what),
            path,
            status: row.status.map_or_else(String::new, |status| format!(" {status}")),
            trouble: trouble(row),
            extra: match &row.evidence {
                Some(evidence) if verbose => format!(" [{evidence}]"),
                _ => String::new(),
            },
        }
    }

    fn columns(&self) -> usize {
        columns(&self.path) + self.columns_besides_path()
    }

    fn columns_besides_path(&self) -> usize {
        [
            self.lead,
            self.service,
            &self.what,
            &self.status,
            &self.trouble,
            &self.extra,
        ]
        .into_iter()
        .map(columns)
        .sum()
    }
}

fn trouble(row: &Row) -> String {
    let mut text = String::new();
    if row.is_error {
        text.push_str(" ✗");
    }
    if let Some(error) = &row.error {
        let _ = write!(text, " {error}");
    }
    if row.is_incomplete {
        text.push_str(" (incomplete)");
    }
    text
}

struct Page<'a> {
    out: String,
    settings: &'a ConsoleSettings,
}

impl Page<'_> {
    fn heading(&mut self, trace: &Trace, services: usize, (start, end): (u64, u64)) {
        let spans = trace.rows.len() + trace.omitted;
        self.put(Style::Bold, &format!("trace {}", trace.id));
        let facts = format!(
            "  {}, {}, {}",
            duration(end - start),
            count(spans, "span"),
            count(services, "service")
        );
        self.put(Style::Plain, &facts);
        let errors = trace.rows.iter().filter(|row| row.is_error).count();
        if errors > 0 {
            self.put(Style::Error, &format!(", {}", count(errors, "error")));
        }
        self.out.push('\n');
    }

    /// What the tree cannot show: where a row without a parent here belongs.
    fn notes(&mut self, span: &Placed<'_>) {
        let row = span.row;
        match row.parent {
            Some(parent) if !span.is_child && row.parent_is_remote => {
                self.note(&format!(
                    "┄ continues span {parent} of a caller that is not traced here"
                ));
            }
            Some(parent) if !span.is_child => {
                self.note(&format!("┄ its parent {parent} is missing"));
            }
            _ => {}
        }
        if let Some((candidate, confidence)) = row.candidate
            && !span.is_child
        {
            let confidence = confidence.map_or_else(String::new, |value| format!(" (confidence {value:.2})"));
            self.note(&format!("┄ may belong under span {candidate}{confidence}"));
        }
    }

    fn note(&mut self, text: &str) {
        self.put(Style::Dim, &fit(text, self.settings.width));
        self.out.push('\n');
    }

    fn line(
        &mut self,
        span: &Placed<'_>,
        label: &Label<'_>,
        layout: &Layout,
        window: (u64, u64),
        service: usize,
        is_slowest: bool,
    ) {
        self.label(label, layout.label, service, span.row.is_error);
        if layout.bar > 0 {
            self.out.push(' ');
            let style = match () {
                () if span.row.is_error => Style::Error,
                () if is_slowest => Style::Slowest,
                () => Style::Service(service),
            };
            self.put(style, &bar(span, window, layout.bar));
        }
        let took = duration(span.row.duration());
        let pad = DURATION.saturating_sub(columns(&took));
        self.out.extend(std::iter::repeat_n(' ', pad));
        self.put(if is_slowest { Style::Slowest } else { Style::Plain }, &took);
        if is_slowest {
            self.put(Style::Slowest, " ◀");
        }
        self.out.push('\n');
    }

    fn label(&mut self, label: &Label<'_>, width: usize, service: usize, is_error: bool) {
        let rest = label.columns_besides_path();
        let path = fit(&label.path, width.saturating_sub(rest));
        let bad = if is_error { Style::Error } else { Style::Plain };
        let mut left = width;
        for (style, text) in [
            (Style::Dim, label.lead),
            (Style::Service(service), label.service),
            (Style::Plain, &label.what),
            (Style::Plain, &path),
            (bad, &label.status),
            (bad, &label.trouble),
            (Style::Dim, &label.extra),
        ] {
            let text = fit(text, left);
            left -= columns(&text);
            self.put(style, &text);
        }
        self.out.extend(std::iter::repeat_n(' ', left));
    }

    fn put(&mut self, style: Style, text: &str) {
        let sgr = style.sgr();
        if !self.settings.colour || sgr.is_empty() || text.is_empty() {
            self.out.push_str(text);
            return;
        }
        let _ = write!(self.out, "\x1b[{sgr}m{text}\x1b[0m");
    }
}

/// A bar of `width` columns; at least one of them is marked.
fn bar(span: &Placed<'_>, (from, to): (u64, u64), width: usize) -> String {
    let whole = u128::from(to - from).max(1);
    let columns = width as u128;
    // Start of a column, in nanoseconds from the start of the trace.
    let edge = |column: u128| column * whole / columns;
    let start = u128::from(span.row.start - from);
    let end = u128::from(span.row.end - from);
    let first = (start * columns / whole).min(columns - 1);
    let last = (end * columns).div_ceil(whole).clamp(first + 1, columns);
    (0..columns)
        .map(|column| {
            if column < first || column >= last {
                return ' ';
            }
            let (left, right) = (edge(column).max(start), edge(column + 1).min(end));
            let inside = right.saturating_sub(left);
            let by_children: u128 = span
                .children
                .iter()
                .map(|(child_start, child_end)| {
                    let child_start = u128::from(child_start - from).max(left);
                    u128::from(child_end - from)
                        .min(right)
                        .saturating_sub(child_start)
                })
                .sum();
            if inside > 0 && by_children * 2 > inside {
                '─'
            } else {
                '█'
            }
        })
        .collect()
}
