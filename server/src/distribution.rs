//! A histogram: the distribution of measured values in a few counters.

/// Counts values in buckets. A bucket holds the values up to its bound and above the bound before.
#[derive(Clone, Debug)]
pub struct Distribution {
    bounds: &'static [f64],
    /// One more than there are bounds: the last counts values above all of them.
    counts: Box<[u64]>,
    sum: f64,
}

impl Distribution {
    /// An empty histogram. The bounds must be ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted());
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0.0 }
    }

    /// Counts a value.
    pub fn observe(&mut self, value: f64) {
        let at = self.bounds.iter().position(|bound| value <= *bound);
        self.counts[at.unwrap_or(self.bounds.len())] += 1;
        self.sum += value;
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound of each bucket, infinity last, and the number of values in it.
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
