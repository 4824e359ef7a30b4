//! How far two models say the same of the same texts, whoever is right. Knows targets, not models.

use super::ValueReport;
use crate::data::Target;

/// The share of pairs with equal labels, in a multi-label task all of them equal; of numbers Pearson's correlation. NaN of
/// no pairs, and where the correlation is not defined.
pub fn agreement<'a>(pairs: impl IntoIterator<Item = (&'a Target, &'a Target)>) -> f64 {
    let (mut values, mut equal, mut count) = (Vec::new(), 0_usize, 0_usize);
    for pair in pairs {
        count += 1;
        match pair {
            (Target::Value(one), Target::Value(other)) => values.push((*one, *other)),
            (one, other) => equal += usize::from(one == other),
        }
    }
    if values.is_empty() {
        equal as f64 / count as f64
    } else {
        ValueReport::from_pairs(values).pearson
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(one: &[Target], other: &[Target]) -> f64 {
        agreement(one.iter().zip(other))
    }

    #[test]
    fn labels_agree_when_all_of_them_are_equal() {
        let [a, b] = [0, 1].map(Target::Label);
        let share = of(&[a.clone(), b.clone(), a.clone()], &[a.clone(), a, b]);
        assert!((share - 1.0 / 3.0).abs() < 1e-12, "{share}");
        let sets = [vec![], vec![0, 1]].map(Target::Labels);
        let share = of(&sets, &[vec![], vec![1]].map(Target::Labels));
        assert!((share - 0.5).abs() < 1e-12, "{share}");
        assert!(of(&[], &[]).is_nan());
    }

    #[test]
    fn numbers_agree_as_they_correlate() {
        let numbers = |values: [f32; 3]| values.map(Target::Value);
        // Scale and offset do not count, the direction does.
        let along = of(&numbers([1.0, 2.0, 3.0]), &numbers([10.0, 20.0, 30.0]));
        let against = of(&numbers([1.0, 2.0, 3.0]), &numbers([3.0, 2.0, 1.0]));
        assert!((along - 1.0).abs() < 1e-12 && (against + 1.0).abs() < 1e-12);
    }
}
