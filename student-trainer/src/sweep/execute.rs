//! Runs as processes of this program, some at a time. One that fails takes no other with it, and none outlives the sweep.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lectern::files::write_atomically;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    board::{Board, Row},
    plan::PlannedRun,
    state::State,
};

/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at what they have written.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// How runs are started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) parallel: NonZeroUsize,
    /// Flags that every process gets.
    pub(super) flags: Vec<String>,
}

/// A run that did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The run.
    pub name: String,
    /// How it ended, and the last line of its log.
    pub cause: String,
    /// The log.
    pub log: PathBuf,
}

/// Brings all runs to an end and tells which failed. On Ctrl-C or SIGTERM the processes are ended and it is an error.
pub(super) fn execute(
    launch: &Launch,
    runs: &[(&PlannedRun, State)],
) -> anyhow::Result<Vec<Failure>> {
    let stop = stop_signal()?;
    let board = Board::new(runs.len());
    let mut waiting: VecDeque<_> = runs.iter().copied().collect();
    let (mut running, mut failures) = (Vec::<Running>::new(), Vec::new());
    let mut refreshed = Instant::now();
    while !(waiting.is_empty() && running.is_empty()) {
        if stop.load(Relaxed) {
            let under_way = running.len();
            // Dropped, they are ended.
            running.clear();
            board.close();
            bail!(
                "stopped: {under_way} runs were ended and {} not begun; the same command goes on from here",
                waiting.len()
            );
        }
        while running.len() < launch.parallel.get() {
            let Some((run, state)) = waiting.pop_front() else { break };
            running.push(Running::start(launch, run, state, &board)?);
        }
        let mut index = 0;
        while index < running.len() {
            match running[index].outcome()? {
                None => index += 1,
                Some(outcome) => {
                    let mut ended = running.swap_remove(index);
                    ended.row.refresh(&ended.folder);
                    board.end(&mut ended.row, &outcome);
                    if let Err(cause) = outcome {
                        failures.push(Failure {
                            name: ended.name.clone(),
                            cause,
                            log: ended.log.clone(),
                        });
                    }
                }
            }
        }
        if refreshed.elapsed() >= REFRESH_EVERY {
            refreshed = Instant::now();
            for run in &mut running {
                run.row.refresh(&run.folder);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    board.close();
    Ok(failures)
}

/// A process; dropped, it is ended.
#[derive(Debug)]
struct Running {
    name: String,
    folder: PathBuf,
    log: PathBuf,
    child: Child,
    row: Row,
}

impl Running {
    fn start(
        launch: &Launch,
        run: &PlannedRun,
        state: State,
        board: &Board,
    ) -> anyhow::Result<Self> {
        let folder = run.config.output.clone();
        let (config, log) = (beside(&folder, "toml"), beside(&folder, "log"));
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let written = write_atomically(&config, toml::to_string(&run.options)?.as_bytes());
        written.with_context(|| format!("cannot write {}", config.display()))?;
        let resumes = state == State::Begun;
        let opened = OpenOptions::new()
            .create(true)
            .write(true)
            .append(resumes)
            .truncate(!resumes)
            .open(&log);
        let out = opened.with_context(|| format!("cannot write {}", log.display()))?;
        let child = command(launch, &config, resumes)?
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("cannot share a log")?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start run {}", run.name))?;
        let row = board.begin(&run.name, resumes);
        Ok(Self { name: run.name.clone(), folder, log, child, row })
    }

    /// How it ended, if it has.
    fn outcome(&mut self) -> anyhow::Result<Option<Result<(), String>>> {
        let status = self.child.try_wait().with_context(|| format!("lost run {}", self.name))?;
        Ok(status.map(|status| {
            if status.success() {
                return Ok(());
            }
            let said = last_line(&self.log).unwrap_or_else(|| "its log is empty".to_owned());
            Err(format!("{status}: {said}"))
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already. A run that is killed loses nothing that it has saved.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(launch: &Launch, config: &Path, resumes: bool) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.arg("train").arg("--config").arg(config).args(&launch.flags);
    if resumes {
        command.arg("--resume");
    }
    Ok(command)
}

/// `FOLDER.ENDING`; a folder's name may have dots.
fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

/// Of what is not blank.
fn last_line(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Becomes true on Ctrl-C or SIGTERM.
fn stop_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    let mut terminate = {
        let _within = runtime.enter();
        signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = tokio::signal::ctrl_c() => {}
                    }
                    told.store(true, Relaxed);
                }
            });
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_begun_is_resumed_and_flags_are_passed_on() {
        let launch = Launch {
            parallel: NonZeroUsize::MIN,
            flags: ["--threads", "2"].map(str::to_owned).to_vec(),
        };
        let args = |resumes| -> Vec<String> {
            let command = command(&launch, Path::new("out/a.toml"), resumes).unwrap();
            command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(args(false), ["train", "--config", "out/a.toml", "--threads", "2"]);
        assert_eq!(args(true), ["train", "--config", "out/a.toml", "--threads", "2", "--resume"]);
    }

    #[test]
    fn files_beside_a_folder_keep_all_of_its_name() {
        assert_eq!(beside(Path::new("out/lr=0.1"), "log"), Path::new("out/lr=0.1.log"));
    }

    #[test]
    fn the_last_line_that_says_something_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(last_line(&path), None);
        fs::write(&path, "first\n  because: x\n\n").unwrap();
        assert_eq!(last_line(&path).unwrap(), "because: x");
    }
}
