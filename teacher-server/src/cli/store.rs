//! The flags of `store`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use lectern::commands::{ColumnOptions, ComputeOptions, Usage};

use super::model::ModelOptions;
use crate::{
    serve::{Offline, ServeConfig},
    store::{
        commands::{self, Gc, Recheck, Recompute as _},
        default_folder,
    },
};

#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// Folder of the stored rows, as given to `serve`; its server must have stopped
    /// [default: `$XDG_CACHE_HOME/lectern/rows` or `~/.cache/lectern/rows`]
    #[arg(long = "store", value_name = "DIR", global = true)]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// List the teachers whose rows are stored
    Stats {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Write a teacher's rows to a label file, from which students train without the teacher
    Export {
        /// The label file to write, a .parquet
        file: PathBuf,
        #[command(flatten)]
        teacher: TeacherOption,
    },
    /// Add the rows of a label file; rows that are stored already stay as they are
    Import {
        /// What `export` wrote
        file: PathBuf,
    },
    /// Check every row against its checksum, and with --model and --data against its teacher
    Verify(Box<VerifyArgs>),
    /// Remove the rows of teachers that are no longer needed, and the holes between the others
    Gc {
        #[command(flatten)]
        teacher: TeacherOption,
        /// Remove the rows of every teacher that no server has used for N days
        #[arg(long, value_name = "N", conflicts_with = "teacher")]
        unused_days: Option<u32>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct TeacherOption {
    /// Name of the teacher, or the first digits of its fingerprint
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<String>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    teacher: TeacherOption,
    /// Drop bad rows: they are computed again when they are asked for
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    model: ModelOptions,
    /// Compute the rows of these texts with --model again and compare: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Compute one in N of the texts of --data
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    one_in: u64,
    /// Largest difference of a value at which a stored row still agrees with the recomputed one
    /// [default: 0.001, with reduced arithmetic 0.1]
    #[arg(long, value_name = "DIFFERENCE")]
    tolerance: Option<f32>,
    #[command(flatten)]
    columns: ColumnOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

/// Does what was asked with the store, and says so on standard output.
pub(super) fn store(args: StoreArgs) -> anyhow::Result<()> {
    let folder = match args.folder {
        Some(folder) if folder.to_string_lossy().contains("://") => {
            // Not shown: it may hold a password.
            let why = "--store must be a folder here; Redis drops rows by its maxmemory-policy";
            return Err(Usage(why.to_owned()).into());
        }
        Some(folder) => folder,
        None => {
            default_folder().ok_or_else(|| Usage("no home folder; give --store DIR".to_owned()))?
        }
    };
    let out = &mut io::stdout().lock();
    match args.command {
        StoreCommand::Stats { json } => commands::stats(&folder, json, out)?,
        StoreCommand::Export { file, teacher } => {
            commands::export(&folder, teacher.teacher.as_deref(), &file, out)?;
        }
        StoreCommand::Import { file } => commands::import(&folder, &file, out)?,
        StoreCommand::Verify(args) => verify(&folder, *args, out)?,
        StoreCommand::Gc { teacher, unused_days, dry_run } => {
            let unused_for = unused_days.map(|days| Duration::from_hours(24 * u64::from(days)));
            commands::gc(&folder, &Gc { teacher: teacher.teacher, unused_for, dry_run }, out)?;
        }
    }
    Ok(())
}

fn verify(folder: &Path, args: VerifyArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let data = match (args.model.is_empty(), args.data) {
        (true, None) => {
            let teacher = args.teacher.teacher.as_deref();
            return Ok(commands::verify(folder, teacher, args.repair, out)?);
        }
        (_, Some(data)) => data,
        (false, None) => {
            return Err(Usage("--model needs --data FILE, the texts".to_owned()).into());
        }
    };
    if args.teacher.teacher.is_some() {
        return Err(
            Usage("--model says which --teacher is meant; give one of them".to_owned()).into()
        );
    }
    let config = ServeConfig {
        models: args.model.sources()?,
        arithmetic: args.model.dtype,
        pinned: args.model.pinned,
        devices: vec![args.compute.device],
        threads: args.compute.threads(),
        ..ServeConfig::new(Path::new(""))
    };
    let tolerance = args.tolerance.unwrap_or_else(|| args.model.tolerance(&config.devices));
    let teacher = Offline::load(&config)?;
    let how = Recheck { data, columns: args.columns.into(), one_in: args.one_in, tolerance };
    let recomputed = commands::recheck(folder, &teacher, &how, out);
    let fingerprint = teacher.card().fingerprint.as_str();
    let verified = commands::verify(folder, Some(fingerprint), args.repair, out);
    Ok(recomputed.and(verified)?)
}
