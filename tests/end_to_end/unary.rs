//! Calls without a stream, and calls with a deadline.

use std::{collections::HashMap, time::Duration};

use lectern::wire::{
    ContentHash, Limits,
    proto::{
        DescribeRequest, Example, LabelRequest, StudentMessage, student_message::Message as Says,
        teacher_client::TeacherClient,
    },
};
use teacher_server::serve::{ServeConfig, Share, TokensPerSecond};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{CLASSES, Raw, Server, block_on, example, hello, nobodys, rows_alone, texts};
use lectern::wire::{Answer, decode_rows};

fn examples(texts: &[(String, Option<String>)]) -> Vec<Example> {
    let example = |((text, pair), id): (&(String, Option<String>), u64)| Example {
        id,
        text: text.clone(),
        text_pair: pair.clone(),
    };
    texts.iter().zip(0..).map(example).collect()
}

async fn label(
    server: &Server,
    experiment: &str,
    examples: Vec<Example>,
) -> Result<(String, Vec<Answer>), Status> {
    let hello = lectern::wire::proto::Hello { experiment: experiment.to_owned(), ..hello() };
    let mut client = TeacherClient::new(server.channel().await);
    let request = LabelRequest { hello: Some(hello), examples };
    let reply = client.label(request).await?.into_inner();
    Ok((reply.fingerprint, decode_rows(&reply.rows.unwrap(), CLASSES).unwrap()))
}

#[test]
fn a_unary_call_answers_every_example_and_says_whose_rows_they_are() {
    let server = Server::start();
    let texts = texts(40);
    let mut asked = examples(&texts);
    asked.push(example(99, ""));
    let (fingerprint, answers) = block_on(label(&server, "unary", asked)).unwrap();
    assert_eq!(fingerprint, server.card().fingerprint.as_str());
    let answers: HashMap<_, _> = answers.into_iter().map(|a| (a.id, a.outcome)).collect();
    assert_eq!(answers.len(), 41);
    assert!(answers[&99].is_err());
    for (id, expected) in rows_alone(&texts).iter().enumerate() {
        let row = answers[&(id as u64)].as_ref().unwrap();
        let (text, pair) = &texts[id];
        assert_eq!(row.content, ContentHash::new(text, pair.as_deref()));
        // Another batch composition changes the order of float32 sums.
        assert!(row.logits.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn a_unary_call_that_cannot_be_answered_says_why() {
    let limits = Limits { credits: 8, ..Limits::default() };
    let server = Server::with(ServeConfig { limits, ..Server::config() });
    block_on(async {
        let code = |examples| async { label(&server, "", examples).await.unwrap_err().code() };
        assert_eq!(code(vec![]).await, Code::InvalidArgument);
        assert_eq!(code(vec![example(1, "a"), example(1, "b")]).await, Code::InvalidArgument);
        assert_eq!(code(examples(&texts(9))).await, Code::ResourceExhausted);
        let stranger =
            lectern::wire::proto::Hello { expected_fingerprint: nobodys().to_string(), ..hello() };
        let request = LabelRequest { hello: Some(stranger), examples: vec![example(1, "a")] };
        let refused = TeacherClient::new(server.channel().await).label(request).await;
        assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    });
}

/// A server on which the experiment "slow" may have one token a second computed.
fn slow_server(max_queued: usize) -> Server {
    let slow = Share { quota: Some(TokensPerSecond(1.0)), ..Share::default() };
    Server::with(ServeConfig {
        max_queued,
        max_batch_tokens: Some(8),
        http: Some("127.0.0.1:0".to_owned()),
        shares: [("slow".to_owned(), slow)].into(),
        ..Server::config()
    })
}

#[test]
fn under_overload_a_unary_call_is_told_when_to_retry_and_a_stream_waits() {
    let server = slow_server(4);
    let texts = texts(30);
    block_on(async {
        let slow = lectern::wire::proto::Hello { experiment: "slow".to_owned(), ..hello() };
        let (mut slow, _) = Raw::open(server.channel().await, slow).await.unwrap();
        let all = examples(&texts);
        slow.ask(all[..20].to_vec()).await;
        slow.answers().await.unwrap();
        // What is left of the twenty has to wait for its quota, and is more than the server wants queued.
        let refused = label(&server, "quick", vec![example(1, "quick")]).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.get_error_details().retry_info().unwrap().retry_delay.is_some());

        let (mut waiting, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        waiting.ask(all[20..].to_vec()).await;
        // The slow student goes, its work is dropped in time, and the stream that waited is served.
        drop(slow);
        assert_eq!(waiting.collect(10).await.len(), 10);
    });
    assert!(server.stop().refused == 1);
}

#[test]
fn a_call_that_is_cancelled_is_not_computed() {
    let server = slow_server(1000);
    let (asked, other) = (examples(&texts(50)), vec![example(1, "after")]);
    block_on(async {
        let cancelled = label(&server, "slow", asked);
        let _elapsed = tokio::time::timeout(Duration::from_millis(300), cancelled).await;
        label(&server, "quick", other).await.unwrap();
    });
    // The burst of the quota is one second's worth, or one example.
    let totals = server.stop();
    assert!(totals.computed < 10, "{totals:?}");
}

#[test]
fn a_stream_ends_at_the_deadline_of_its_call() {
    let server = slow_server(1000);
    let status = block_on(async {
        let asked = examples(&texts(50));
        let hello = lectern::wire::proto::Hello { experiment: "slow".to_owned(), ..hello() };
        let says = [
            Says::Hello(hello),
            Says::Examples(lectern::wire::proto::ExampleBatch { examples: asked }),
        ];
        let says = says.map(|message| StudentMessage { message: Some(message) });
        let says = tokio_stream::iter(says).chain(tokio_stream::pending());
        let mut request = Request::new(says);
        request.set_timeout(Duration::from_millis(200));
        let mut client = TeacherClient::new(server.channel().await);
        let mut incoming = client.stream_logits(request).await.unwrap().into_inner();
        loop {
            match incoming.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ended without a status"),
                Err(status) => break status,
            }
        }
    });
    assert_eq!(status.code(), Code::DeadlineExceeded);
    block_on(async {
        let mut client = TeacherClient::new(server.channel().await);
        client.describe(DescribeRequest {}).await.unwrap();
    });
}

#[test]
fn work_that_a_quota_holds_back_is_dropped_as_soon_as_nobody_waits_for_it() {
    let server = slow_server(1000);
    let is_queued =
        || server.get("/metrics").contains("lectern_queue_examples{experiment=\"slow\"}");
    block_on(async {
        let slow = lectern::wire::proto::Hello { experiment: "slow".to_owned(), ..hello() };
        let (mut slow, _) = Raw::open(server.channel().await, slow).await.unwrap();
        slow.ask(examples(&texts(50))).await;
        // One answer shows that all are queued.
        slow.answers().await.unwrap();
        assert!(is_queued());
        drop(slow);
        // The quota alone would take a quarter of an hour to let them all go.
        while is_queued() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let totals = server.stop();
    assert!(totals.dropped > 40 && totals.computed + totals.dropped == 50, "{totals:?}");
}
