//! How a row's values are written: each encoding with its error bound. Knows rows, not messages.

use std::sync::Arc;

use half::f16;
use serde::{Deserialize, Serialize};

use super::{TeacherCard, WireError, proto};
use crate::data::Task;

/// The encodings that this version speaks; error bounds stand in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Exactly what the teacher computed.
    #[default]
    Float32,
    /// Half the bytes; relative error at most 2^-11.
    Float16,
    /// The largest logits and the mass of the rest; for many classes.
    TopK,
}

impl Encoding {
    /// All that this version speaks.
    pub const ALL: [Self; 3] = [Self::Float32, Self::Float16, Self::TopK];

    /// Those that a teacher of `task` may be asked for: the mass of the rest is a matter of softmax.
    pub fn of_task(task: Task) -> Vec<Self> {
        let fits = |encoding: &Self| *encoding != Self::TopK || task == Task::SingleLabel;
        Self::ALL.into_iter().filter(fits).collect()
    }
}

impl TryFrom<i32> for Encoding {
    type Error = WireError;

    fn try_from(number: i32) -> Result<Self, WireError> {
        match proto::Encoding::try_from(number) {
            Ok(proto::Encoding::Unspecified | proto::Encoding::Float32) => Ok(Self::Float32),
            Ok(proto::Encoding::Float16) => Ok(Self::Float16),
            Ok(proto::Encoding::TopK) => Ok(Self::TopK),
            Err(_) => Err(WireError::Unknown { what: "encoding", number }),
        }
    }
}

impl From<Encoding> for proto::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float32 => Self::Float32,
            Encoding::Float16 => Self::Float16,
            Encoding::TopK => Self::TopK,
        }
    }
}

/// What a student asks for in its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowFormat {
    /// How logits are written.
    pub encoding: Encoding,
    /// Logits kept of each row under [`Encoding::TopK`], otherwise 0.
    pub top_k: usize,
    /// Whether an ensemble's variance comes too.
    pub variance: bool,
}

impl RowFormat {
    /// Reads a hello for the teacher of that card.
    pub fn of(hello: &proto::Hello, card: &TeacherCard) -> Result<Self, WireError> {
        let encoding = Encoding::try_from(hello.encoding)?;
        if !card.encodings.contains(&encoding) {
            let offered = card.encodings.clone();
            return Err(WireError::Encoding { encoding, offered });
        }
        let (classes, members) = (card.labels.len(), card.members);
        let top_k = hello.top_k as usize;
        match encoding {
            Encoding::TopK if top_k == 0 || top_k >= classes => {
                return Err(WireError::TopK { top_k, classes });
            }
            Encoding::Float32 | Encoding::Float16 if top_k != 0 => {
                return Err(WireError::TopKWithout { top_k });
            }
            _ => {}
        }
        if hello.variance && members < 2 {
            return Err(WireError::NoVariance);
        }
        Ok(Self { encoding, top_k, variance: hello.variance })
    }

    /// Bytes of one row's values, of all that is written for it.
    pub fn bytes_per_row(self, classes: usize) -> usize {
        let values = match self.encoding {
            Encoding::Float32 => 4 * classes,
            Encoding::Float16 => 2 * classes,
            Encoding::TopK => 8 * self.top_k + 4,
        };
        values + if self.variance { 4 * classes } else { 0 }
    }

    /// The first logit that this format cannot hold within its error bound.
    pub(super) fn beyond(self, logits: &[f32]) -> Option<f32> {
        match self.encoding {
            Encoding::Float32 | Encoding::TopK => None,
            Encoding::Float16 => logits.iter().copied().find(|&v| !f16::from_f32(v).is_finite()),
        }
    }
}

/// The largest logits of a row, largest first, and the log-sum-exp of the others.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) classes: Vec<u32>,
    pub(super) logits: Vec<f32>,
    pub(super) tail: f32,
}

impl Top {
    /// The `k` largest of `logits`; of equals those that come first.
    pub(super) fn of(logits: &[f32], k: usize) -> Self {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        let rest = order.split_off(k);
        let rest = || rest.iter().map(|&class| f64::from(logits[class as usize]));
        let largest = rest().fold(f64::NEG_INFINITY, f64::max);
        let tail = largest + rest().map(|z| (z - largest).exp()).sum::<f64>().ln();
        Self {
            logits: order.iter().map(|&class| logits[class as usize]).collect(),
            classes: order,
            tail: tail as f32,
        }
    }

    /// `[C]` logits with the rest spread evenly: each of the `n` others at `tail - ln n`.
    pub(super) fn spread(&self, classes: usize) -> Result<Arc<[f32]>, WireError> {
        let others = classes - self.classes.len();
        let mut row = vec![self.tail - (others as f32).ln(); classes];
        let mut seen = vec![false; classes];
        for (&class, &logit) in self.classes.iter().zip(&self.logits) {
            match seen.get_mut(class as usize) {
                Some(seen @ false) => *seen = true,
                _ => return Err(WireError::TopClass { class, classes }),
            }
            row[class as usize] = logit;
        }
        Ok(row.into())
    }
}

pub(super) fn write_f32(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

pub(super) fn write_f16(values: &[f32], out: &mut Vec<u8>) {
    out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
}

pub(super) fn read_f32(bytes: &[u8]) -> Arc<[f32]> {
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

pub(super) fn read_f16(bytes: &[u8]) -> Arc<[f32]> {
    bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn softmax(logits: &[f32]) -> Vec<f64> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f64> = logits.iter().map(|&z| f64::from(z - largest).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    }

    #[test]
    fn the_largest_come_first_and_the_tail_is_the_log_of_the_rests_mass() {
        let top = Top::of(&[0.0, 3.0, 0.0, 5.0, 3.0], 2);
        assert_eq!(
            (top.classes.as_slice(), top.logits.as_slice()),
            ([3, 1].as_slice(), [5.0, 3.0].as_slice())
        );
        // ln(1 + 1 + e^3)
        assert!((top.tail - 3.094_922_4).abs() < 1e-6, "{}", top.tail);
    }

    #[test]
    fn a_class_named_twice_or_unknown_is_refused() {
        for classes in [vec![1, 1], vec![0, 5]] {
            let top = Top { classes, logits: vec![1.0, 0.5], tail: 0.0 };
            assert!(matches!(top.spread(5), Err(WireError::TopClass { .. })));
        }
    }

    #[test]
    fn a_hello_that_asks_for_the_impossible_is_refused() {
        let hello = |encoding: proto::Encoding, top_k, variance| proto::Hello {
            encoding: encoding.into(),
            top_k,
            variance,
            ..proto::Hello::default()
        };
        let top_k = proto::Encoding::TopK;
        for (hello, reason) in [
            (hello(top_k, 0, false), "k = 0"),
            (hello(top_k, 5, false), "k = 5"),
            (hello(proto::Encoding::Float32, 2, false), "k = 2"),
            (hello(proto::Encoding::Float32, 0, true), "variance"),
        ] {
            let error = RowFormat::of(&hello, &card(Task::SingleLabel, 1)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(RowFormat::of(&hello(top_k, 4, true), &card(Task::SingleLabel, 2)).is_ok());
        let error = RowFormat::of(&hello(top_k, 4, false), &card(Task::MultiLabel, 1)).unwrap_err();
        assert!(error.to_string().contains("TopK"), "{error}");
    }

    fn card(task: Task, members: usize) -> TeacherCard {
        TeacherCard {
            fingerprint: "0123456789abcdef".repeat(4).parse().unwrap(),
            name: "teacher".to_owned(),
            task,
            labels: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
            architecture: String::new(),
            parameters: 1,
            max_length: 32,
            arithmetic: "float32".to_owned(),
            limits: crate::wire::Limits::default(),
            encodings: Encoding::of_task(task),
            members,
            mask_token: None,
        }
    }

    proptest! {
        #[test]
        fn top_k_stays_within_its_stated_bound(
            logits in prop::collection::vec(-12f32..12.0, 3..60),
            k in 1usize..59,
        ) {
            let k = k.min(logits.len() - 1);
            let top = Top::of(&logits, k);
            let (truth, got) = (softmax(&logits), softmax(&top.spread(logits.len()).unwrap()));
            let kept = |class: usize| top.classes.contains(&(class as u32));
            let rest: f64 = (0..truth.len()).filter(|&c| !kept(c)).map(|c| truth[c]).sum();
            let distance = truth.iter().zip(&got).map(|(t, g)| (t - g).abs()).sum::<f64>() / 2.0;
            // 1e-5: the tail and the spread logits are rounded to float32 at magnitudes up to 16.
            prop_assert!(distance <= rest + 1e-5, "{distance} > {rest}");
            for (class, (t, g)) in truth.iter().zip(&got).enumerate() {
                prop_assert!(!kept(class) || (t - g).abs() < 1e-5);
            }
        }
    }
}
