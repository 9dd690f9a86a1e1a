//! How something that is measured again and again is distributed, in a few counters.

/// Counts what is at most as large as each of some bounds, and no larger than the one before.
#[derive(Clone, Debug)]
pub struct Distribution {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is for what is larger than all of them.
    counts: Box<[u64]>,
    sum: f64,
}

impl Distribution {
    /// Nothing was measured yet. The bounds are ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted());
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
        }
    }

    /// Counts one.
    pub fn observe(&mut self, value: f64) {
        let at = self.bounds.iter().position(|bound| value <= *bound);
        self.counts[at.unwrap_or(self.bounds.len())] += 1;
        self.sum += value;
    }

    /// The sum of all.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound, infinity last, and how many were between it and the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once() {
        let mut distribution = Distribution::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.5, 100.0] {
            distribution.observe(value);
        }
        let buckets: Vec<_> = distribution.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 1), (f64::INFINITY, 2)]);
        assert_eq!((distribution.count(), distribution.sum()), (5, 105.5));
    }
}
