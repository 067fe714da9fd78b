//! A summary of many numbers in little space: count, sum, bounds, and quantiles within one per cent.
//!
//! Pure. Never grows beyond a few thousand buckets, whatever is put in.

use std::collections::BTreeMap;

/// Ratio of neighbouring bucket bounds.
const GAMMA: f64 = 1.02;
/// Numbers nearer to zero than this count as zero.
const TINY: f64 = 1e-9;
const HUGE: f64 = 1e15;

/// Numbers, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sketch {
    pub count: u64,
    pub sum: f64,
    pub sum_of_squares: f64,
    pub min: f64,
    pub max: f64,
    buckets: BTreeMap<i16, u32>,
}

impl Sketch {
    /// Adds a number. What is not a number is left out.
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        (self.min, self.max) = if self.count == 0 { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
        let size = value.clamp(0.0, HUGE);
        let bucket = if size < TINY { i16::MIN } else { (size.ln() / GAMMA.ln()).ceil() as i16 };
        let count = self.buckets.entry(bucket).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Of the sample; 0 for fewer than two numbers.
    pub(super) fn deviation(&self) -> f64 {
        let count = self.count as f64;
        if self.count < 2 {
            return 0.0;
        }
        ((self.sum_of_squares - self.sum * self.sum / count).max(0.0) / (count - 1.0)).sqrt()
    }

    /// The number below which this share of the numbers lies; `None` when there are none.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.buckets.values().map(|count| u64::from(*count)).sum();
        let rank = (share * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += u64::from(*count);
            if seen >= rank {
                let middle = if *bucket == i16::MIN { 0.0 } else { GAMMA.powi(i32::from(*bucket)) * 2.0 / (1.0 + GAMMA) };
                return Some(middle.clamp(self.min, self.max));
            }
        }
        None
    }

    /// Both together.
    pub(super) fn merged(&self, other: &Self) -> Self {
        if other.count == 0 || self.count == 0 {
            return if self.count == 0 { other.clone() } else { self.clone() };
        }
        let mut buckets = self.buckets.clone();
        for (bucket, count) in &other.buckets {
            let sum = buckets.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut sketch = Sketch::default();
        for value in 1..=1000 {
            sketch.add(f64::from(value) / 10.0);
        }
        for (share, expected) in [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            let got = sketch.quantile(share).expect("there are numbers");
            assert!((got - expected).abs() <= expected * 0.011, "{share}: {got}");
        }
        assert_eq!((sketch.count, sketch.min, sketch.max), (1000, 0.1, 100.0));
        assert!((sketch.mean() - 50.05).abs() < 1e-9);
        assert!((sketch.deviation() - 28.89).abs() < 0.01);
    }

    #[test]
    fn nothing_and_nonsense_are_harmless() {
        let mut sketch = Sketch::default();
        sketch.add(f64::NAN);
        assert_eq!((sketch.quantile(0.5), sketch.count, sketch.deviation()), (None, 0, 0.0));
        for value in [0.0, -3.0, 1e300] {
            sketch.add(value);
        }
        assert_eq!(sketch.quantile(0.5), Some(0.0));
        assert_eq!(sketch.count, 3);
    }

    proptest::proptest! {
        #[test]
        fn merging_equals_adding_everything(left: Vec<u16>, right: Vec<u16>) {
            let sketch = |values: &[u16]| {
                let mut sketch = Sketch::default();
                values.iter().for_each(|value| sketch.add(f64::from(*value)));
                sketch
            };
            let both: Vec<u16> = left.iter().chain(&right).copied().collect();
            proptest::prop_assert_eq!(sketch(&left).merged(&sketch(&right)), sketch(&both));
        }
    }
}
