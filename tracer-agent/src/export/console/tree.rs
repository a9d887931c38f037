//! The rows of a trace in the order of its tree, each with what its place in the tree says.

use std::collections::{HashMap, HashSet};

use super::collect::Row;
use crate::ids::SpanId;

/// Deeper rows are drawn at this depth: no terminal is wide enough for more.
const MAX_DEPTH: usize = 24;

/// A row in its place.
pub struct Placed<'a> {
    /// The row.
    pub row: &'a Row,
    /// The lines that lead to it, two columns a level.
    pub lead: String,
    /// It hangs under another row of this trace.
    pub is_child: bool,
    /// Its parent is of the same service.
    pub in_service_of_parent: bool,
    /// Times of its children within its own, merged and in order.
    pub children: Vec<(u64, u64)>,
    /// Nanoseconds that no child accounts for.
    pub own: u64,
}

/// The rows as a tree: parents before children, siblings by start. Rows whose parent is not here are roots.
pub fn place(rows: &[Row]) -> Vec<Placed<'_>> {
    let ids: HashSet<SpanId> = rows.iter().map(|row| row.id).collect();
    let mut children: HashMap<SpanId, Vec<&Row>> = HashMap::new();
    let mut roots = Vec::new();
    for row in rows {
        match row
            .parent
            .filter(|parent| ids.contains(parent) && *parent != row.id)
        {
            Some(parent) => children.entry(parent).or_default().push(row),
            None => roots.push(row),
        }
    }
    let by_start = |row: &&Row| (row.start, row.id);
    children.values_mut().for_each(|rows| rows.sort_by_key(by_start));
    roots.sort_by_key(by_start);
    let mut placed = Vec::with_capacity(rows.len());
    let mut seen = HashSet::new();
    for root in roots {
        place_under(root, &children, &mut seen, &mut placed);
    }
    // Only parent links that run in a circle leave rows over; each is shown once all the same.
    for row in rows {
        place_under(row, &children, &mut seen, &mut placed);
    }
    placed
}

fn place_under<'a>(
    root: &'a Row,
    children: &HashMap<SpanId, Vec<&'a Row>>,
    seen: &mut HashSet<SpanId>,
    placed: &mut Vec<Placed<'a>>,
) {
    // Row, its parent, the lead of its children's siblings, whether it is the last child, depth.
    let mut open = vec![(root, None::<&Row>, String::new(), true, 0_usize)];
    while let Some((row, parent, stem, is_last, depth)) = open.pop() {
        if !seen.insert(row.id) {
            continue;
        }
        let own_children = children.get(&row.id).map_or(&[][..], Vec::as_slice);
        let times = merged(row, own_children);
        let covered: u64 = times.iter().map(|(start, end)| end - start).sum();
        let lead = match (depth, is_last) {
            (0, _) => String::new(),
            (_, true) => format!("{stem}└ "),
            (_, false) => format!("{stem}├ "),
        };
        let below = match (depth, is_last) {
            (0, _) => String::new(),
            (MAX_DEPTH.., _) => stem,
            (_, true) => format!("{stem}  "),
            (_, false) => format!("{stem}│ "),
        };
        for (place, child) in own_children.iter().enumerate().rev() {
            open.push((
                child,
                Some(row),
                below.clone(),
                place + 1 == own_children.len(),
                depth + 1,
            ));
        }
        placed.push(Placed {
            row,
            lead,
            is_child: parent.is_some(),
            in_service_of_parent: parent.is_some_and(|parent| parent.service == row.service),
            children: times,
            own: row.duration().saturating_sub(covered),
        });
    }
}

/// The times of the children inside the time of the row, overlaps joined.
fn merged(row: &Row, children: &[&Row]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    // Children come by start, so each can only overlap the last.
    for child in children {
        let (start, end) = (child.start.max(row.start), child.end.min(row.end));
        match merged.last_mut() {
            _ if start >= end => {}
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged
}
