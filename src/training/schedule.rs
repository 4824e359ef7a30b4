//! Learning rates as pure functions of the step.

/// Factor of the peak learning rate at `step` of `total`, both counted from 0: rises linearly over the
/// first `warm_up` steps, then falls linearly to 0 at `total`, as `get_linear_schedule_with_warmup` of
/// `transformers` does.
pub fn warm_up_then_decay(step: usize, warm_up: usize, total: usize) -> f64 {
    if step < warm_up {
        step as f64 / warm_up.max(1) as f64
    } else {
        let left = total.saturating_sub(step) as f64;
        left / total.saturating_sub(warm_up).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_zero() {
        let rates: Vec<f64> = (0..=6).map(|step| warm_up_then_decay(step, 2, 6)).collect();
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        assert!((warm_up_then_decay(0, 0, 10) - 1.0).abs() < f64::EPSILON);
    }
}
