//! Parts of a picture that have nothing to do with each other, put side by side. Knows no edges.

use super::{Point, Size};

/// How much wider than high a picture is to be.
const RATIO: f64 = 1.7;

/// Puts boxes in rows from left to right, in their order; returns their places and the size of the whole.
pub(super) fn rows(sizes: &[Size], gap: f64) -> (Vec<Point>, Size) {
    let area: f64 = sizes.iter().map(|size| (size.width + gap) * (size.height + gap)).sum();
    let widest = sizes.iter().fold(0.0f64, |widest, size| widest.max(size.width));
    let limit = widest.max((area * RATIO).sqrt());
    let mut whole = Size::default();
    let (mut x, mut y, mut row_height) = (0.0f64, 0.0f64, 0.0f64);
    let mut places = Vec::with_capacity(sizes.len());
    for size in sizes {
        if x > 0.0 && x + size.width > limit {
            (x, y, row_height) = (0.0, y + row_height + gap, 0.0);
        }
        places.push(Point { x, y });
        row_height = row_height.max(size.height);
        whole = Size { width: whole.width.max(x + size.width), height: whole.height.max(y + size.height) };
        x += size.width + gap;
    }
    (places, whole)
}

/// Puts boxes into a grid with columns of one width, row by row.
pub(super) fn grid(sizes: &[Size], gap: f64) -> (Vec<Point>, Size) {
    let cell = sizes.iter().fold(Size::default(), |cell, size| Size {
        width: cell.width.max(size.width),
        height: cell.height.max(size.height),
    });
    let shape = (cell.height + gap) / (cell.width + gap) * RATIO;
    let columns = ((sizes.len() as f64 * shape).sqrt().ceil() as usize).clamp(1, sizes.len().max(1));
    let place = |slot: usize| Point {
        x: (slot % columns) as f64 * (cell.width + gap),
        y: (slot / columns) as f64 * (cell.height + gap),
    };
    let ends = sizes.len().div_ceil(columns).max(1) as f64;
    let whole = Size {
        width: columns.min(sizes.len()) as f64 * (cell.width + gap) - gap,
        height: ends * (cell.height + gap) - gap,
    };
    ((0..sizes.len()).map(place).collect(), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_about_as_high_as_a_page_is_wide() {
        let (places, whole) = grid(&[Size { width: 90.0, height: 40.0 }; 7], 10.0);
        assert_eq!((whole.width, whole.height), (290.0, 140.0));
        assert_eq!(places[3], Point { x: 0.0, y: 50.0 });
    }

    #[test]
    fn a_row_is_as_long_as_the_widest_part_needs() {
        let wide = Size { width: 100.0, height: 10.0 };
        let small = Size { width: 45.0, height: 20.0 };
        let (places, whole) = rows(&[wide, small, small], 10.0);
        let xy: Vec<(f64, f64)> = places.iter().map(|place| (place.x, place.y)).collect();
        assert_eq!(xy, [(0.0, 0.0), (0.0, 20.0), (55.0, 20.0)]);
        assert_eq!((whole.width, whole.height), (100.0, 40.0));
    }
}
