//! What an operator sees of a server.

use teacher_server::serve::ServeConfig;

use crate::support::{Server, requests, take, texts};

#[test]
fn metrics_tell_where_every_row_came_from() {
    let http = Some("127.0.0.1:0".to_owned());
    let server = Server::with(ServeConfig { http, ..Server::config() });
    assert!(server.get("/health").ends_with("serving\n"));
    let requests = requests(&texts(30));
    for _ in 0..2 {
        take(&mut server.student(vec![requests.clone()]), 1);
    }
    let page = server.get("/metrics");
    let fingerprint = server.card().fingerprint;
    for line in [
        "lectern_examples_total{source=\"computed\"} 30",
        "lectern_examples_total{source=\"memory\"} 30",
        "lectern_examples_total{source=\"disk\"} 0",
        "lectern_answers_total 60",
        "lectern_mismatched_rows_total 0",
        "# EOF",
    ] {
        assert!(page.lines().any(|found| found.trim_end_matches(".0") == line), "{line}: {page}");
    }
    assert!(page.contains(fingerprint.as_str()));
    for name in
        ["padding_share", "batch_fill", "peak_flops", "stage_seconds_total{stage=\"computing\"}"]
    {
        let line = page.lines().find(|line| line.starts_with(&format!("lectern_{name} ")));
        let value: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value >= 0.0 && value.is_finite(), "{name} {value}");
    }
}
