//! A disk that is full: the kernel refuses writes beyond a file size, and later allows them again.
#![cfg(target_os = "linux")]

use std::{env, path::Path, process::Command, time::Duration};

use super::{super::disk::Disk, card, contents, row};

/// In the environment of the process whose files may not grow.
const FOLDER: &str = "LECTERN_TEST_FULL";

const TEST: &str = concat!("store::tests::full::", "a_full_disk_costs_its_rows_and_no_more");

#[test]
fn a_full_disk_costs_its_rows_and_no_more() {
    if let Some(folder) = env::var_os(FOLDER) {
        return fill(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    // Ignored, the signal becomes an error of the write; ignoring is inherited.
    let server = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", TEST])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&server.stdout);
    let complained = String::from_utf8_lossy(&server.stderr);
    assert!(server.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "{said}");
}

fn fill(folder: &Path) {
    let disk = Disk::open_with(folder, None, &card('a', 100), Duration::ZERO).unwrap();
    let rows: Vec<_> = (0..5000).map(|i| row(i, 100)).collect();
    let (first, second) = rows.split_at(1000);
    disk.insert(first.to_vec());
    disk.flush();
    assert_eq!(disk.counts().written, 1000);

    limit_files_to(&disk.counts().bytes.to_string());
    disk.insert(second.to_vec());
    disk.flush();
    let counts = disk.counts();
    assert_eq!((counts.written, counts.dropped, counts.errors), (1000, 4000, 1));
    // What is there can still be read.
    let found = disk.get(&contents(first));
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), first);

    limit_files_to("unlimited");
    disk.insert(second.to_vec());
    disk.flush();
    let counts = disk.counts();
    assert_eq!((counts.written, counts.rows, counts.errors), (5000, 5000, 1));
    let found = disk.get(&contents(&rows));
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), rows);
}

/// Sets the largest size of this process's files, in bytes.
fn limit_files_to(size: &str) {
    let set = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), &format!("--fsize={size}:")])
        .status();
    assert!(set.unwrap().success(), "prlimit, of util-linux, refuses --fsize={size}");
}
