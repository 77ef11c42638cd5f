//! Tasks that depend on each other, as a picture: those that others wait for stand to the left.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::html::Html;
use domain::in_order;

/// Width and height of a task, and the room between two, in the units of the picture.
const WIDTH: i64 = 190;
const HEIGHT: i64 = 40;
const GAP: i64 = 60;
const ROOM: i64 = 12;
/// Tasks of a column; of more, the rest is counted.
const COLUMN: usize = 12;
/// Characters of a name that a task has room for.
const NAME: usize = 22;

/// A task of the picture.
#[derive(Clone, Debug)]
pub struct Node {
    /// Address of its page.
    pub link: String,
    /// Name, or beginning of what it was told.
    pub name: String,
    /// Name and sign of its status.
    pub status: (&'static str, &'static str),
    /// True if the page is about it.
    pub is_here: bool,
}

/// Renders tasks and what each waits for: `(the one that waits, the one it waits for, still)`, by their places. A table
/// beside it says the same.
#[must_use]
pub fn graph(nodes: &[Node], edges: &[(usize, usize, bool)]) -> Html {
    let places = places(nodes, edges);
    let (columns, rows) = places.values().fold((0, 0), |(x, y), place| (x.max(place.column), y.max(place.row)));
    let (width, height) = ((columns + 1) * (WIDTH + GAP) - GAP + 4, (rows + 1) * (HEIGHT + ROOM) - ROOM + 4);
    let mut html = Html::new();
    html.raw("<div class=\"wide graph\" tabindex=\"0\"><svg width=\"").number(width).raw("\" height=\"").number(height);
    html.raw("\" role=\"img\" aria-label=\"Tasks, each to the right of those that it waits for\">");
    for (task, on, open) in edges {
        let (Some(from), Some(to)) = (places.get(on), places.get(task)) else { continue };
        let ((x1, y1), (x2, y2)) = (from.right(), to.left());
        let mut path = String::new();
        write!(path, "M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + GAP / 2, x2 - GAP / 2).unwrap_or_default();
        html.raw(if *open { "<path class=\"open\" d=\"" } else { "<path d=\"" }).text(&path).raw("\"></path>");
    }
    let mut left_out: HashMap<Place, i64> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some(place) = places.get(&at) else { continue };
        match place.is_rest {
            true => *left_out.entry(*place).or_default() += 1,
            false => task(&mut html, node, *place),
        }
    }
    for (place, number) in left_out {
        let (x, y) = place.left();
        html.raw("<text class=\"rest\" x=\"").number(x + 10).raw("\" y=\"").number(y + 5).raw("\">… ");
        html.number(number).raw(" more</text>");
    }
    html.raw("</svg></div>");
    html
}

fn task(html: &mut Html, node: &Node, place: Place) {
    let (x, y) = (place.left().0, place.left().1 - HEIGHT / 2);
    let (status, sign) = node.status;
    html.raw("<a href=\"").text(&node.link).raw("\"><g class=\"").raw(status);
    html.raw(if node.is_here { " here\"" } else { "\"" }).raw("><title>").text(&node.name).raw(" (").raw(status);
    html.raw(")</title><rect rx=\"6\" x=\"").number(x).raw("\" y=\"").number(y).raw("\" width=\"").number(WIDTH);
    html.raw("\" height=\"").number(HEIGHT).raw("\"></rect><text x=\"").number(x + 10).raw("\" y=\"").number(y + 25);
    let name: String = node.name.chars().take(NAME).collect();
    let cut = if node.name.chars().nth(NAME).is_some() { "…" } else { "" };
    html.raw("\">").raw(sign).raw(" ").text(&name).raw(cut).raw("</text></g></a>");
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    column: i64,
    row: i64,
    /// True if it stands for all that the column has no room for.
    is_rest: bool,
}

impl Place {
    const fn left(self) -> (i64, i64) {
        (2 + self.column * (WIDTH + GAP), 2 + self.row * (HEIGHT + ROOM) + HEIGHT / 2)
    }

    const fn right(self) -> (i64, i64) {
        let (x, y) = self.left();
        (x + WIDTH, y)
    }
}

fn places(nodes: &[Node], edges: &[(usize, usize, bool)]) -> HashMap<usize, Place> {
    let mut waits_for = vec![Vec::new(); nodes.len()];
    for (task, on, _) in edges.iter().filter(|(task, on, _)| *task < nodes.len() && *on < nodes.len()) {
        waits_for[*task].push(*on);
    }
    // Rows of a database may say what no client could.
    let order = in_order(&waits_for).unwrap_or_else(|_| (0..nodes.len()).collect());
    let mut column = vec![0; nodes.len()];
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for task in order {
        column[task] = waits_for[task].iter().map(|on| column[*on] + 1).max().unwrap_or(0).min(nodes.len());
        if columns.len() <= column[task] {
            columns.resize(column[task] + 1, Vec::new());
        }
        columns[column[task]].push(task);
    }
    let mut places = HashMap::new();
    for (column, mut tasks) in (0..).zip(columns) {
        let rank =
            |task: &usize| (!nodes[*task].is_here, matches!(nodes[*task].status.0, "completed" | "pending"), *task);
        if tasks.len() > COLUMN {
            tasks.sort_by_key(rank);
        }
        let shown = if tasks.len() > COLUMN { COLUMN - 1 } else { COLUMN };
        for (row, task) in tasks.into_iter().enumerate() {
            let (is_rest, row) = (row >= shown, row.min(shown) as i64);
            places.insert(task, Place { column, row, is_rest });
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::well_formed;
    use super::*;

    fn node(name: &str) -> Node {
        Node { link: "/tasks/x".to_owned(), name: name.to_owned(), status: ("pending", "○"), is_here: false }
    }

    #[test]
    fn each_stands_to_the_right_of_what_it_waits_for() {
        let nodes = ["join", "left", "right", "root"].map(node);
        let edges = [(0, 1, true), (0, 2, true), (1, 3, false), (2, 3, false)];
        let places = places(&nodes, &edges);
        let columns = [0, 1, 2, 3].map(|task| places[&task].column);
        assert_eq!(columns, [2, 1, 1, 0]);
        let html = graph(&nodes, &edges);
        assert_eq!(html.as_str().matches("<path").count(), 4);
        assert_eq!(html.as_str().matches("class=\"open\"").count(), 2);
    }

    #[test]
    fn of_many_some_are_drawn_and_the_rest_is_counted() {
        let mut nodes: Vec<Node> = (0..5_000).map(|n| node(&format!("task {n}"))).collect();
        nodes[4_000].is_here = true;
        let html = graph(&nodes, &[]);
        assert!(html.as_str().contains("… 4989 more") && html.as_str().contains("task 4000"), "{html}");
        assert!(html.as_str().len() < 10_000);
    }

    proptest! {
        #[test]
        fn any_graph_is_drawn(
            names in prop::collection::vec(".{0,40}", 0..8), edges in prop::collection::vec((0usize..9, 0usize..9, any::<bool>()), 0..20)
        ) {
            let nodes: Vec<Node> = names.iter().map(|name| node(name)).collect();
            well_formed(graph(&nodes, &edges).as_str());
        }
    }
}
