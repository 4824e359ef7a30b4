//! From the settings of what is learnt to a loss that fits the task.

use lectern::{
    commands::Usage,
    data::Task,
    training::{Alpha, Balance, Loss, Scheduled, SoftLoss},
};

use super::{
    OnMissing, TrainOptions, at_least,
    choices::LossKind::{
        self, Bce, CeMse, Cosine, CrossEntropy, Dist, Dkd, JensenShannon, Kl, MarginMse, Mse,
        ReverseKl, SoftCrossEntropy, TopKKl,
    },
    not_negative,
};

/// What a run learns from where nobody says.
const fn default_kind(task: Task, has_teacher: bool) -> LossKind {
    match (task, has_teacher) {
        (Task::Regression, _) => Mse,
        (Task::SingleLabel, true) => Kl,
        (Task::MultiLabel, true) => CeMse,
        (_, false) => CrossEntropy,
    }
}

/// `α`: half for the labels, half for the teacher; but of a text with one label the teacher's answer alone, which is what the
/// results of `docs/RESULTS.md` are of.
const fn default_alpha(task: Task) -> f64 {
    match task {
        Task::SingleLabel => 0.0,
        Task::MultiLabel | Task::Regression => 0.5,
    }
}

/// `T`: for DKD that of the paper's CIFAR-100 experiments, for DIST that of its authors' code.
const fn default_temperature(kind: LossKind) -> f64 {
    match kind {
        Dkd => 4.0,
        Dist => 1.0,
        _ => 2.0,
    }
}

/// Weights of cross-entropy and squared error: those of HoyTta0/KnowledgeDistillation.
const CE_WEIGHT: f64 = 1.0;
const MSE_WEIGHT: f64 = 2.0;
/// `α` and `β` of DKD, `β` and `γ` of DIST: those of their authors' code.
const DKD: [f64; 2] = [1.0, 8.0];
const DIST: [f64; 2] = [1.0, 1.0];
/// Classes of `top-k-kl`.
const TOP_CLASSES: usize = 10;

impl LossKind {
    /// Those that mean something for `task`.
    pub(super) const fn of_task(task: Task) -> &'static [Self] {
        match task {
            Task::SingleLabel => &[
                CeMse,
                Kl,
                Mse,
                CrossEntropy,
                SoftCrossEntropy,
                ReverseKl,
                JensenShannon,
                Dkd,
                Dist,
                Cosine,
                TopKKl,
            ],
            Task::MultiLabel => &[CeMse, Bce, Mse, CrossEntropy],
            Task::Regression => &[Mse, MarginMse],
        }
    }

    /// Those that weigh their two parts by α and 1 - α.
    const fn with_alpha(task: Task) -> &'static [Self] {
        match task {
            Task::SingleLabel => &[Kl, SoftCrossEntropy, ReverseKl, JensenShannon, Cosine, TopKKl],
            Task::MultiLabel => &[Bce],
            Task::Regression => &[Mse, MarginMse],
        }
    }

    const WITH_TEMPERATURE: &'static [Self] =
        &[Kl, Bce, SoftCrossEntropy, ReverseKl, JensenShannon, Dkd, Dist, TopKKl];
}

impl TrainOptions {
    /// The loss for `task`, after its settings are filled in and checked.
    pub(super) fn resolve_loss(&mut self, task: Task, has_teacher: bool) -> Result<Loss, Usage> {
        let kind = *self.loss.get_or_insert(default_kind(task, has_teacher));
        let fitting = LossKind::of_task(task);
        if !fitting.contains(&kind) {
            let (kind, fitting) = (kind.name(), LossKind::list(fitting));
            return Err(Usage(format!("--loss {kind} is not for a {task} task; choose {fitting}")));
        }
        self.check_loss_settings(task, kind)?;
        if task == Task::Regression && !has_teacher && self.alpha.is_some() {
            return Err(Usage(
                "--alpha weighs the data's numbers against a teacher's: give --teacher \
                 http://HOST:PORT, or --labels FILE.parquet"
                    .to_owned(),
            ));
        }
        let learns_without = kind == CrossEntropy || (kind == Mse && task == Task::Regression);
        let name = kind.name();
        if !has_teacher && !learns_without {
            return Err(Usage(format!(
                "--loss {name} needs a teacher: give --teacher http://HOST:PORT, or --labels FILE.parquet"
            )));
        }
        let label_smoothing = self.resolve_smoothing(task, kind)?;
        if !has_teacher {
            return Ok(Loss { label_smoothing, ..Loss::hard() });
        }
        let (soft, balance) = (self.soft_loss(kind)?, self.balance(task, kind)?);
        let only_hard = task == Task::Regression && balance == Balance::Alpha(1.0.into());
        if soft.is_none() || only_hard {
            return Err(Usage(format!(
                "--loss {name}{} would not use the teacher: leave --teacher and --labels out, or choose \
                 another loss",
                if only_hard { " with --alpha 1" } else { "" }
            )));
        }
        if self.on_missing == Some(OnMissing::HardOnly)
            && matches!(balance, Balance::Alpha(hard) | Balance::Weights { hard, .. } if hard.ends() == [0.0, 0.0])
        {
            return Err(Usage(format!(
                "--on-missing hard-only: --loss {name} gives hard labels no weight here, so such examples would \
                 teach nothing; give them some, as with --loss kl --alpha 0.5, or choose --on-missing skip"
            )));
        }
        Ok(Loss { soft, balance, temperature: self.resolve_temperature(kind)?, label_smoothing })
    }

    /// Whether every setting that was given has a meaning for the loss.
    fn check_loss_settings(&self, task: Task, kind: LossKind) -> Result<(), Usage> {
        let only_for = |flag: &str, given: bool, wanted: &[LossKind]| {
            if !given || wanted.contains(&kind) {
                return Ok(());
            }
            let (kind, wanted) = (kind.name(), LossKind::list(wanted));
            Err(Usage(format!("--{flag} belongs to --loss {wanted}, not {kind}")))
        };
        only_for("alpha", self.alpha.is_some(), LossKind::with_alpha(task))?;
        if self.alpha == Some(Alpha::Entropy) {
            only_for("alpha entropy", true, LossKind::with_alpha(Task::SingleLabel))?;
        }
        only_for("temperature", self.temperature.is_some(), LossKind::WITH_TEMPERATURE)?;
        only_for("ce-weight", self.ce_weight.is_some(), &[CeMse, Dkd, Dist])?;
        only_for("mse-weight", self.mse_weight.is_some(), &[CeMse])?;
        only_for("dkd-alpha", self.dkd_alpha.is_some(), &[Dkd])?;
        only_for("dkd-beta", self.dkd_beta.is_some(), &[Dkd])?;
        only_for("dist-beta", self.dist_beta.is_some(), &[Dist])?;
        only_for("dist-gamma", self.dist_gamma.is_some(), &[Dist])?;
        only_for("kl-top-k", self.kl_top_k.is_some(), &[TopKKl])?;
        match self.label_smoothing {
            Some(_) if task != Task::SingleLabel => {
                Err(Usage(format!("--label-smoothing is of single-label tasks, not {task}")))
            }
            Some(_) if kind == Mse => {
                Err(Usage("--label-smoothing: --loss mse has no part for hard labels".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn soft_loss(&mut self, kind: LossKind) -> Result<Option<SoftLoss>, Usage> {
        let weight = |flag: &str, setting: &mut Option<f64>, default: f64| {
            not_negative(flag, *setting.get_or_insert(default))
        };
        Ok(Some(match kind {
            CrossEntropy => return Ok(None),
            CeMse | Mse => SoftLoss::Mse,
            Kl => SoftLoss::Kl,
            SoftCrossEntropy => SoftLoss::SoftCrossEntropy,
            ReverseKl => SoftLoss::ReverseKl,
            JensenShannon => SoftLoss::JensenShannon,
            Dkd => SoftLoss::Dkd {
                alpha: weight("dkd-alpha", &mut self.dkd_alpha, DKD[0])?,
                beta: weight("dkd-beta", &mut self.dkd_beta, DKD[1])?,
            },
            Dist => SoftLoss::Dist {
                beta: weight("dist-beta", &mut self.dist_beta, DIST[0])?,
                gamma: weight("dist-gamma", &mut self.dist_gamma, DIST[1])?,
            },
            Cosine => SoftLoss::Cosine,
            TopKKl => SoftLoss::TopKKl {
                k: at_least("kl-top-k", *self.kl_top_k.get_or_insert(TOP_CLASSES), 1)?,
            },
            Bce => SoftLoss::Bce,
            MarginMse => SoftLoss::MarginMse,
        }))
    }

    /// How the parts of a loss with a teacher weigh.
    fn balance(&mut self, task: Task, kind: LossKind) -> Result<Balance, Usage> {
        let weight = |flag: &str, setting: &mut Option<Scheduled>, default: f64| {
            let weight = *setting.get_or_insert(default.into());
            at_each_end(flag, weight, |value| value >= 0.0, "must not be negative")
        };
        match kind {
            CrossEntropy => Ok(Loss::hard().balance),
            CeMse => {
                let hard = weight("ce-weight", &mut self.ce_weight, CE_WEIGHT)?;
                let soft = weight("mse-weight", &mut self.mse_weight, MSE_WEIGHT)?;
                if soft.ends() == [0.0, 0.0] {
                    return Err(Usage(format!("--mse-weight {soft}: must be positive")));
                }
                Ok(Balance::Weights { hard, soft })
            }
            Dkd | Dist => {
                let hard = weight("ce-weight", &mut self.ce_weight, CE_WEIGHT)?;
                Ok(Balance::Weights { hard, soft: 1.0.into() })
            }
            Mse if task != Task::Regression => Ok(Balance::Alpha(0.0.into())),
            _ => match *self.alpha.get_or_insert(default_alpha(task).into()) {
                Alpha::Entropy => Ok(Balance::Entropy),
                Alpha::Scheduled(alpha) => {
                    let share = |value| (0.0..=1.0).contains(&value);
                    at_each_end("alpha", alpha, share, "must lie between 0 and 1")
                        .map(Balance::Alpha)
                }
            },
        }
    }

    fn resolve_temperature(&mut self, kind: LossKind) -> Result<Scheduled, Usage> {
        if !LossKind::WITH_TEMPERATURE.contains(&kind) {
            return Ok(1.0.into());
        }
        let temperature = *self.temperature.get_or_insert(default_temperature(kind).into());
        at_each_end("temperature", temperature, |value| value > 0.0, "must be positive")
    }

    fn resolve_smoothing(&mut self, task: Task, kind: LossKind) -> Result<f64, Usage> {
        if task != Task::SingleLabel || kind == Mse {
            return Ok(0.0);
        }
        let smoothing = *self.label_smoothing.get_or_insert(0.0);
        if (0.0..1.0).contains(&smoothing) {
            return Ok(smoothing);
        }
        Err(Usage(format!("--label-smoothing {smoothing}: must be at least 0 and below 1")))
    }
}

/// The setting, where what it begins and ends with fits; all between then does.
fn at_each_end(
    flag: &str,
    setting: Scheduled,
    fits: impl Fn(f64) -> bool,
    must: &str,
) -> Result<Scheduled, Usage> {
    if setting.ends().into_iter().all(|value| value.is_finite() && fits(value)) {
        return Ok(setting);
    }
    Err(Usage(format!("--{flag} {setting}: {must}")))
}
