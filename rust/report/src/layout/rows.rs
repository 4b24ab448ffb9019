//! Lists of numbers in one flat array: the neighbours of nodes. Knows nothing else.

/// Numbers in rows: one flat array for any number of lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Rows {
    /// The second of each pair, in the row that the first one names.
    pub(super) fn new(rows: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        // Counted two places on and filled one place on, each row's start ends up where it belongs.
        let mut starts = vec![0u32; rows + 2];
        for (row, _) in pairs.clone() {
            starts[row as usize + 2] += 1;
        }
        for row in 1..starts.len() {
            starts[row] += starts[row - 1];
        }
        let mut items = vec![0; starts.pop().unwrap_or(0) as usize];
        for (row, item) in pairs {
            let place = &mut starts[row as usize + 1];
            items[*place as usize] = item;
            *place += 1;
        }
        Self { starts, items }
    }

    pub(super) fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.items[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}
