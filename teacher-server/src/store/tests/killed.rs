//! A server killed at any moment: what it called durable is there, and nothing is wrong.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::{super::database::Database, card, contents, row, store};

/// In the environment of the process that is killed: the folder, and the first row to write.
const FOLDER: &str = "LECTERN_TEST_FOLDER";
const FIRST: &str = "LECTERN_TEST_FIRST";

/// Rows between two flushes.
const ROUND: u64 = 200;

#[test]
fn a_killed_server_has_kept_every_flushed_row_and_no_wrong_one() {
    if let Some(folder) = env::var_os(FOLDER) {
        let first = env::var(FIRST).unwrap().parse().unwrap();
        write_until_killed(Path::new(&folder), first);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut durable = 0;
    // Every other one is killed while it starts and opens or makes the file, the others at work.
    for (round, milliseconds) in [4, 0, 8, 20, 14, 60, 25, 150, 50, 300].into_iter().enumerate() {
        let mut server = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", TEST])
            .env(FOLDER, folder.path())
            .env(FIRST, durable.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        let flushed = |line: String| line.strip_prefix("flushed ")?.parse().ok();
        if round % 2 == 1 {
            durable = lines.by_ref().find_map(flushed).unwrap();
        }
        thread::sleep(Duration::from_millis(milliseconds));
        server.kill().unwrap();
        server.wait().unwrap();
        durable = lines.filter_map(flushed).last().unwrap_or(durable);

        let database = Database::create(folder.path(), &card('a', 5)).unwrap();
        let wanted: Vec<_> = (0..durable).map(|i| row(i, 5)).collect();
        let found = database.get(&contents(&wanted)).unwrap();
        assert!(found.rows.into_iter().map(Option::unwrap).eq(wanted), "of {durable} rows");
        // The process had begun with others, which may be there too; a torn one may not.
        for chunk in database.chunks(1000) {
            assert!(chunk.unwrap().corrupt.is_empty());
        }
    }
    assert!(durable > 0);
}

const TEST: &str = concat!(
    "store::tests::killed::",
    "a_killed_server_has_kept_every_flushed_row_and_no_wrong_one"
);

fn write_until_killed(folder: &Path, mut next: u64) -> ! {
    let store = store(Some(folder), 1 << 20);
    loop {
        for i in next..next + ROUND {
            store.insert(vec![row(i, 5)]);
        }
        next += ROUND;
        store.flush();
        println!("flushed {next}");
    }
}
