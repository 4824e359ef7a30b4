//! Programs that an errand starts: each writes to its own log, none outlives the errand, and one
//! that fails shows its last words.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

const POLL: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(15);
const LAST_LINES: usize = 15;

/// A running program. Dropped, it is killed.
pub(crate) struct Job {
    name: String,
    child: Child,
    log: PathBuf,
    said: String,
}

impl Job {
    /// Starts `command` with both outputs in `LOGS/NAME.log`.
    pub(crate) fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { name: name.into(), child, log, said: String::new() })
    }

    /// Waits until the job has written `file`, and answers what it holds.
    pub(crate) fn wait_for_file(&mut self, file: &Path, limit: Duration) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < limit {
            self.must_run()?;
            if let Ok(text) = fs::read_to_string(file)
                && !text.is_empty()
            {
                return Ok(text);
            }
            thread::sleep(POLL);
        }
        bail!(
            "{} did not write {} within {limit:?}{}",
            self.name,
            file.display(),
            self.last_words()
        )
    }

    /// Asks the job to stop, and insists on exit code 0 within `limit`.
    pub(crate) fn terminate(mut self, limit: Duration) -> Result<()> {
        self.must_run()?;
        // The standard library can only kill; every shell has this as a builtin.
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
            .status()?;
        ensure!(asked.success(), "could not send SIGTERM to {}", self.name);
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return self.judge(status);
            }
            thread::sleep(POLL);
        }
        bail!("{} still ran {limit:?} after SIGTERM{}", self.name, self.last_words())
    }

    fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early, {status}{}", self.name, self.last_words()),
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        ensure!(status.success(), "{} failed, {status}{}", self.name, self.last_words());
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(|line| format!("  | {line}\n")).collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].concat();
        format!("\n{last}  whole log: {}", self.log.display())
    }

    /// Prints the log's newest line, if it is another than last time.
    fn say(&mut self) {
        let text = fs::read(&self.log).unwrap_or_default();
        let line = String::from_utf8_lossy(&text).lines().last().unwrap_or_default().to_owned();
        if line != self.said {
            println!("  {}: {line:.150}", self.name);
            self.said = line;
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Both fail only for a job that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until all `jobs` have succeeded; `server` must run all the while. The first failure ends
/// the others.
pub(crate) fn finish(mut jobs: Vec<Job>, mut server: Option<&mut Job>) -> Result<()> {
    let mut last_said = Instant::now();
    while !jobs.is_empty() {
        if let Some(server) = &mut server {
            server.must_run()?;
        }
        let mut running = Vec::new();
        for mut job in jobs {
            match job.child.try_wait()? {
                Some(status) => job.judge(status)?,
                None => running.push(job),
            }
        }
        jobs = running;
        if last_said.elapsed() > SAY_EVERY {
            jobs.iter_mut().for_each(Job::say);
            last_said = Instant::now();
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, name: &str, logs: &Path) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job::start(name, command, logs).unwrap()
    }

    fn is_alive(process: u32) -> bool {
        Path::new(&format!("/proc/{process}")).exists()
    }

    #[test]
    fn a_failure_shows_the_last_words_and_ends_the_others() {
        let logs = tempfile::tempdir().unwrap();
        let idle = shell("exec sleep 60", "idle", logs.path());
        let process = idle.child.id();
        let broken = shell("echo no such file >&2; exit 3", "broken", logs.path());
        let error = finish(vec![idle, broken], None).unwrap_err().to_string();
        assert!(error.contains("broken failed, exit status: 3\n  | no such file\n"), "{error}");
        assert!(error.ends_with("broken.log"), "{error}");
        assert!(!is_alive(process), "the other job outlived the failure");
    }

    #[test]
    fn a_server_that_dies_is_noticed_while_others_run() {
        let logs = tempfile::tempdir().unwrap();
        let mut server = shell("exit 0", "server", logs.path());
        let student = shell("exec sleep 60", "student", logs.path());
        let error = finish(vec![student], Some(&mut server)).unwrap_err().to_string();
        assert!(error.contains("server ended early, exit status: 0"), "{error}");
    }

    #[test]
    fn a_job_asked_to_stop_must_end_with_zero() {
        let logs = tempfile::tempdir().unwrap();
        let ready = logs.path().join("ready");
        let script = |code| {
            format!(
                "trap 'exit {code}' TERM; echo up > {}; while :; do sleep 0.05; done",
                ready.display()
            )
        };
        let limit = Duration::from_secs(20);
        for (code, good) in [(0, true), (1, false)] {
            let _ = fs::remove_file(&ready);
            let mut job = shell(&script(code), "job", logs.path());
            job.wait_for_file(&ready, limit).unwrap();
            assert_eq!(job.terminate(limit).is_ok(), good);
        }
    }
}
