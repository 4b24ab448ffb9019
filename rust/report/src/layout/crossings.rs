//! How many pairs of edges cross between two layers, counted with a tree of sums (W. Barth, M. Jünger and P. Mutzel, "Simple and
//! efficient bilayer cross counting", Graph Drawing 2002).

use super::rows::Rows;

/// Counts crossings.
#[derive(Default)]
pub(super) struct Counter {
    /// A tree of sums: how many edges so far end where on the later layer.
    sums: Vec<u64>,
    row: Vec<u32>,
}

impl Counter {
    /// How many pairs of edges cross between a layer and a later one of that width.
    pub(super) fn crossings(&mut self, layer: &[u32], width: usize, after: &Rows, at: &[u32]) -> u64 {
        self.sums.clear();
        self.sums.resize(width + 1, 0);
        let (mut crossings, mut edges) = (0, 0);
        for place in layer {
            // Edges from one place do not cross: those that end farther left are counted first.
            self.row.clear();
            self.row.extend(after.row(*place).iter().map(|end| at[*end as usize]));
            self.row.sort_unstable();
            for end in &self.row {
                let mut up_to = *end as usize + 1;
                let mut not_right = 0;
                while up_to > 0 {
                    not_right += self.sums[up_to];
                    up_to &= up_to - 1;
                }
                crossings += edges - not_right;
                let mut up_to = *end as usize + 1;
                while up_to < self.sums.len() {
                    self.sums[up_to] += 1;
                    up_to += up_to & up_to.wrapping_neg();
                }
                edges += 1;
            }
        }
        crossings
    }
}
