//! Statistics of trials.

/// Results of the trials of one contestant, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Returns the minimum; NaN without trials.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// Returns the median; NaN without trials.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns the maximum; NaN without trials.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Returns a quantile, with linear interpolation; NaN without trials.
    pub fn quantile(&self, at: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let position = at * last as f64;
        let (low, high) = (position.floor() as usize, position.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (position - low as f64)
    }

    /// Combines the values of each pass with those of another contestant.
    #[must_use]
    pub fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(own, other)| combine(*own, *other))
                .collect(),
        )
    }

    /// Returns the ratio to another contestant in each pass.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> Self {
        self.with(other, |own, other| own / other)
    }
}

/// Returns the 80th percentile of the differences of two equal contestants.
pub fn aa_spread(one: &Samples, same: &Samples) -> f64 {
    let apart = one.with(same, |one, same| (one / same - 1.0).abs());
    apart.quantile(0.8)
}

/// Returns whether a ratio differs from 1 by at least twice the spread of equal contestants.
pub fn differs(ratio: f64, aa_spread: f64) -> bool {
    (ratio - 1.0).abs() >= 2.0 * aa_spread
}

/// Runs every contestant once per pass, each pass in another order, so that disturbances of the machine
/// affect all.
pub fn interleave<C, E>(
    passes: usize,
    contestants: &[C],
    mut trial: impl FnMut(&C) -> Result<f64, E>,
) -> Result<Vec<Samples>, E> {
    let mut samples = vec![Samples::default(); contestants.len()];
    for pass in 0..passes {
        for turn in 0..contestants.len() {
            let contestant = (turn + pass) % contestants.len();
            samples[contestant].0.push(trial(&contestants[contestant])?);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_a_mean() {
        let samples = Samples(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            Samples(vec![samples.min(), samples.median(), samples.max()]),
            Samples(vec![1.0, 2.5, 4.0])
        );
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn ratios_are_computed_within_a_pass() {
        let (slow, fast) = (Samples(vec![20.0, 60.0]), Samples(vec![10.0, 30.0]));
        assert_eq!(slow.ratio(&fast), Samples(vec![2.0, 2.0]));
    }

    #[test]
    fn a_difference_of_equal_contestants_is_no_difference() {
        let (one, same) = (Samples(vec![30.0, 31.0, 30.0]), Samples(vec![30.0, 30.0, 31.0]));
        let spread = aa_spread(&one, &same);
        assert!(spread > 0.03 && spread < 0.034, "{spread}");
        assert!(!differs(1.06, spread));
        assert!(!differs(0.94, spread));
        assert!(differs(1.07, spread));
    }

    #[test]
    fn every_pass_runs_each_contestant_once_and_starts_with_another() {
        let mut order = Vec::new();
        let samples = interleave(2, &["a", "b"], |name| {
            order.push(*name);
            Ok::<_, ()>(order.len() as f64)
        });
        assert_eq!(order, ["a", "b", "b", "a"]);
        assert_eq!(
            samples,
            Ok(vec![Samples(vec![1.0, 4.0]), Samples(vec![2.0, 3.0])])
        );
    }
}
