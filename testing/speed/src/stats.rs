//! Medians and straight lines.

/// The middle of the values, or the mean of the middle two.
///
/// # Panics
/// Without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// A power law `y = c * x^exponent` through points, by least squares of their logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    /// 1 for linear growth, 2 for quadratic.
    pub(crate) exponent: f64,
    /// How much of the variance the law explains: 1 for all of it.
    pub(crate) r_squared: f64,
}

impl Growth {
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
        let sum = |f: fn(f64, f64) -> f64| -> f64 {
            logs.iter().map(|(x, y)| f(x - mean_x, y - mean_y)).sum()
        };
        let (xx, xy, yy) = (sum(|x, _| x * x), sum(|x, y| x * y), sum(|_, y| y * y));
        Self {
            exponent: xy / xx,
            r_squared: xy * xy / (xx * yy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), 3.0);
    }

    #[test]
    fn tells_linear_from_quadratic_growth() {
        let line = Growth::through(&[(1.0, 3.0), (2.0, 6.0), (5.0, 15.0)]);
        assert!((line.exponent - 1.0).abs() < 1e-9 && line.r_squared > 0.999_999);
        let square = Growth::through(&[(1.0, 3.0), (2.0, 12.0), (4.0, 48.0)]);
        assert!((square.exponent - 2.0).abs() < 1e-9);
    }
}
