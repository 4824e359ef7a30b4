//! What a run learns from beside its labelled examples: texts made of them, and texts without labels.

use std::path::PathBuf;

use clap::Args;
use lectern::{
    augmentation::Augmentation,
    commands::Usage,
    data::{Example, epoch_share},
    wire::TeacherCard,
};
use serde::Serialize;

use super::{TrainOptions, positive, share};

/// Examples for which only the teacher has a target.
#[derive(Debug, Clone, Default)]
pub struct Transfer {
    /// How the labelled examples are varied; what is not given depends on the teacher.
    augmentation: AugmentFlags,
    /// Whether a server may be asked for what is made.
    has_server: bool,
    /// Files of texts without labels.
    pub unlabelled: Vec<PathBuf>,
    /// Of these texts, as many in an epoch for each labelled example; `None` for all.
    pub unlabelled_ratio: Option<f64>,
}

/// How many training examples there are of each kind, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TransferCounts {
    /// Of the training file.
    pub labelled: usize,
    /// Made of these.
    pub augmented: usize,
    /// Of files without labels.
    pub unlabelled: usize,
}

/// How texts are varied, as flags.
#[derive(Debug, Clone, Default, Args)]
pub struct AugmentFlags {
    /// Texts made of each, before what occurs twice is dropped; 0 for none [default: 20; of a run 2, if its teacher is
    /// a server and has a mask token]
    #[arg(long, value_name = "TEXTS")]
    pub augment: Option<usize>,
    /// Share of words that the mask token takes the place of [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub augment_mask: Option<f64>,
    /// Share of words that another word of the files of the same part of speech takes the place of [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub augment_pos: Option<f64>,
    /// Share of the texts of which only one to five words in a row stay [default: 0.25]
    #[arg(long, value_name = "SHARE")]
    pub augment_ngram: Option<f64>,
    /// What hides a word, as the teacher's tokenizer spells it: `<mask>` for RoBERTa and its kin. A student reads its
    /// own mask token there [default: the teacher's, else `[MASK]`]
    #[arg(long, value_name = "TOKEN")]
    pub augment_mask_token: Option<String>,
    /// Decides the texts [default: 1]
    #[arg(long, value_name = "SEED")]
    pub augment_seed: Option<u32>,
}

/// Texts that a run makes of each where nobody says, see `docs/RESULTS.md`.
pub const DEFAULT_TEXTS: usize = 2;

impl AugmentFlags {
    /// Fills in the defaults, but for the number of texts, which is `samples` unless it is given. `None` for no texts at
    /// all, with which the other flags mean nothing.
    pub fn resolve(&mut self, samples: usize) -> Result<Option<Augmentation>, Usage> {
        let default = Augmentation::default();
        let samples = *self.augment.get_or_insert(samples);
        if samples == 0 {
            let others = [
                ("mask", self.augment_mask.is_some()),
                ("pos", self.augment_pos.is_some()),
                ("ngram", self.augment_ngram.is_some()),
                ("mask-token", self.augment_mask_token.is_some()),
                ("seed", self.augment_seed.is_some()),
            ];
            return match others.iter().find(|(_, given)| *given) {
                None => Ok(None),
                Some((flag, _)) => Err(Usage(format!(
                    "--augment-{flag} belongs to --augment TEXTS, which says how many texts to make of each"
                ))),
            };
        }
        let mask = share("augment-mask", *self.augment_mask.get_or_insert(default.mask))?;
        let replace = share("augment-pos", *self.augment_pos.get_or_insert(default.replace))?;
        let ngram = share("augment-ngram", *self.augment_ngram.get_or_insert(default.ngram))?;
        let mask_token = self.augment_mask_token.get_or_insert(default.mask_token).clone();
        if mask + replace > 1.0 {
            return Err(Usage(format!(
                "--augment-mask {mask} and --augment-pos {replace}: a word is hidden or exchanged, so both \
                 together must be at most 1"
            )));
        }
        if mask + replace + ngram == 0.0 {
            return Err(Usage(
                "--augment-mask, --augment-pos and --augment-ngram are all 0, which would change no text"
                    .to_owned(),
            ));
        }
        if mask_token.trim() != mask_token || mask_token.is_empty() {
            return Err(Usage(format!(
                "--augment-mask-token {mask_token:?}: must be a token, without spaces around it"
            )));
        }
        let seed = (*self.augment_seed.get_or_insert(default.seed as u32)).into();
        Ok(Some(Augmentation { samples, mask, replace, ngram, mask_token, seed }))
    }
}

impl TrainOptions {
    /// What is learnt from beside the labelled examples. All of it needs a teacher.
    pub(super) fn resolve_transfer(&self) -> Result<Transfer, Usage> {
        let augmentation = AugmentFlags {
            augment: self.augment,
            augment_mask: self.augment_mask,
            augment_pos: self.augment_pos,
            augment_ngram: self.augment_ngram,
            augment_mask_token: self.augment_mask_token.clone(),
            augment_seed: self.augment_seed,
        };
        let unlabelled = self.unlabelled.clone().unwrap_or_default();
        if self.unlabelled_ratio.is_some() && unlabelled.is_empty() {
            return Err(Usage(
                "--unlabelled-ratio belongs to --unlabelled FILE, which has the texts".to_owned(),
            ));
        }
        let unlabelled_ratio =
            self.unlabelled_ratio.map(|ratio| positive("unlabelled-ratio", ratio)).transpose()?;
        let has_server = self.teacher.is_some();
        let transfer = Transfer { augmentation, has_server, unlabelled, unlabelled_ratio };
        // A teacher that is not asked yet may have a mask token.
        transfer.resolve(has_server, None)?;
        let flag = match (self.augment.unwrap_or(0), transfer.unlabelled.is_empty()) {
            (0, true) => return Ok(transfer),
            (0, false) => "unlabelled",
            _ => "augment",
        };
        if self.teacher.is_none() && self.labels.is_none() {
            return Err(Usage(format!(
                "--{flag}: only a teacher has labels for such texts; give --teacher http://HOST:PORT, or \
                 --labels FILE.parquet"
            )));
        }
        Ok(transfer)
    }

    /// Takes the settings that depended on the teacher.
    pub(super) fn take_augmentation(&mut self, flags: AugmentFlags) {
        self.augment = flags.augment;
        self.augment_mask = flags.augment_mask;
        self.augment_pos = flags.augment_pos;
        self.augment_ngram = flags.augment_ngram;
        self.augment_mask_token = flags.augment_mask_token;
        self.augment_seed = flags.augment_seed;
    }
}

impl Transfer {
    /// What is made of the labelled examples of a run with these teachers, and the flags that say so; `None` for nothing.
    /// All are asked about the same texts, so nothing is made by default where one could not read what hides a word.
    pub(super) fn augmentation(
        &self,
        teachers: &[TeacherCard],
    ) -> Result<(Option<Augmentation>, AugmentFlags), Usage> {
        let cards = teachers.iter();
        let masks: Vec<(&TeacherCard, &str)> =
            cards.filter_map(|card| Some((card, card.mask_token.as_deref()?))).collect();
        let mask = masks.first().map(|(_, mask)| *mask);
        let other = masks.iter().find(|(_, other)| Some(*other) != mask);
        let all_read_it = mask.is_some() && masks.len() == teachers.len() && other.is_none();
        let resolved = self.resolve(self.has_server && all_read_it, mask)?;
        if let (Some((first, mask)), Some((second, other))) = (masks.first(), other)
            && self.augmentation.augment_mask_token.is_none()
            && resolved.0.as_ref().is_some_and(|made| made.hiding().is_some())
        {
            return Err(Usage(format!(
                "--augment: teachers {} and {} spell a hidden word differently, {mask:?} and {other:?}, and are asked about \
                 the same texts; choose one with --augment-mask-token, or hide none with --augment-mask 0",
                first.name, second.name
            )));
        }
        Ok(resolved)
    }

    fn resolve(
        &self,
        by_default: bool,
        mask: Option<&str>,
    ) -> Result<(Option<Augmentation>, AugmentFlags), Usage> {
        let mut flags = self.augmentation.clone();
        let samples = flags.augment.unwrap_or(if by_default { DEFAULT_TEXTS } else { 0 });
        if samples > 0 && flags.augment_mask_token.is_none() {
            flags.augment_mask_token = mask.map(str::to_owned);
        }
        Ok((flags.resolve(samples)?, flags))
    }
}

impl TransferCounts {
    /// Those of `train` that are not made but were found in files.
    pub fn found<'a>(&self, train: &'a [Example]) -> impl Iterator<Item = &'a Example> {
        let (labelled, others) = train.split_at(self.labelled);
        labelled.iter().chain(&others[self.augmented..])
    }

    /// The examples of an epoch, counted from 1, by index: all, or of those without labels so many for each labelled one,
    /// rounded up.
    pub fn of_epoch(&self, ratio: Option<f64>, seed: u64, epoch: u64) -> Vec<usize> {
        let always = self.labelled + self.augmented;
        let Some(ratio) = ratio else { return (0..always + self.unlabelled).collect() };
        let share = (ratio * self.labelled as f64).ceil() as usize;
        let turn = epoch_share(self.unlabelled, share, seed, epoch);
        (0..always).chain(turn.into_iter().map(|text| always + text)).collect()
    }
}
