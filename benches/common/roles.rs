//! The programs that a bench starts: itself, as the teacher server and as the student trainer.

use std::{
    env, iter,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use clap::Parser as _;

/// What the first argument says when this program is to be another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Teacher,
    Student,
}

impl Role {
    const ALL: [Self; 2] = [Self::Teacher, Self::Student];

    const fn word(self) -> &'static str {
        match self {
            Self::Teacher => "be-the-teacher-server",
            Self::Student => "be-the-student-trainer",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Does what the program does, with the arguments after the first.
    pub(crate) fn play(self) -> Result<()> {
        let arguments = iter::once(self.word().to_owned()).chain(env::args().skip(2));
        let code = match self {
            Self::Teacher => {
                let cli = teacher_server::cli::Cli::parse_from(arguments);
                lectern::commands::run(|| cli.execute())
            }
            Self::Student => {
                let cli = student_trainer::cli::Cli::parse_from(arguments);
                lectern::commands::run(|| cli.execute())
            }
        };
        if code == std::process::ExitCode::SUCCESS { Ok(()) } else { bail!("{self:?} failed") }
    }

    /// That program, to be given arguments and started.
    pub(crate) fn command(self) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(self.word()).stdin(Stdio::null());
        Ok(command)
    }
}
