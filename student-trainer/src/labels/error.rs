//! Everything that can keep soft labels from the training loop, with the way out.

use std::{io, time::Duration};

use lectern::wire::{Fingerprint, WireError};
use tonic::Code;

use super::{TeacherUrl, in_flight::Mismatch};

/// Why there are no soft labels.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Usage: the address cannot be one.
    #[error("teacher address {given:?}: {reason}; expected http://HOST:PORT")]
    Url {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody listens there.
    #[error(
        "no teacher at {url} after {:.1} s: {cause}; start one with `teacher-server serve` or check the address",
        waited.as_secs_f64()
    )]
    Absent {
        /// The address tried.
        url: TeacherUrl,
        /// How long it was tried.
        waited: Duration,
        /// What the last try met.
        cause: String,
    },
    /// Somebody listens, but does not answer yet.
    #[error(
        "the teacher at {url} is not ready after {:.1} s: {cause}; look at its log, or allow more patience",
        waited.as_secs_f64()
    )]
    NotReady {
        /// The address tried.
        url: TeacherUrl,
        /// How long it was tried.
        waited: Duration,
        /// What the last try met.
        cause: String,
    },
    /// Something answers that is no Lectern teacher of this version.
    #[error("what answers at {url} is not a lectern.v1 teacher: {detail}; check host and port")]
    Foreign {
        /// The address.
        url: TeacherUrl,
        /// How it shows.
        detail: String,
    },
    /// The teacher does not want to; asking again would not help.
    #[error("the teacher at {url} refused ({code:?}): {message}")]
    Refused {
        /// The address.
        url: TeacherUrl,
        /// The gRPC status code.
        code: Code,
        /// The teacher's own words.
        message: String,
    },
    /// Another teacher than the run was started with.
    #[error(
        "the teacher at {url} has fingerprint {found}, this run was started with {expected}; \
         start that teacher there, or begin a new run in another output folder"
    )]
    OtherTeacher {
        /// The address.
        url: TeacherUrl,
        /// The run's teacher.
        expected: Fingerprint,
        /// Who answers now.
        found: Fingerprint,
    },
    /// The peer answers something that was not asked; none of it is used.
    #[error("the teacher at {url} is broken: {cause}; no row of that message was used")]
    Mismatch {
        /// The address.
        url: TeacherUrl,
        /// What does not match.
        cause: Mismatch,
    },
    /// The peer's messages contradict themselves or the contract.
    #[error("the teacher at {url} is broken: {cause}; no row of that message was used")]
    Wire {
        /// The address.
        url: TeacherUrl,
        /// What is wrong with the message.
        cause: WireError,
    },
    /// The peer's messages come out of order.
    #[error("the teacher at {url} breaks the contract: {what}")]
    Contract {
        /// The address.
        url: TeacherUrl,
        /// Which rule.
        what: &'static str,
    },
    /// Tried again and again, for nothing.
    #[error(
        "no answer from the teacher at {url} for {:.1} s, last: {cause}; \
         once it is back, the run can be started again",
        waited.as_secs_f64()
    )]
    GaveUp {
        /// The address.
        url: TeacherUrl,
        /// Time since the last answer.
        waited: Duration,
        /// What the last try met.
        cause: String,
    },
    /// All batches were taken; the training loop asked for one more than it announced.
    #[error("no batch is left: the training loop asks for more batches than it announced")]
    Exhausted,
    /// A defect of this program.
    #[error("the thread that streams soft labels ended unexpectedly: {0}")]
    Stopped(String),
    /// The operating system gave no thread.
    #[error("cannot start the thread that streams soft labels: {0}")]
    Runtime(io::Error),
}
