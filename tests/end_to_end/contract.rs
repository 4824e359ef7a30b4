//! The contract at its edges, spoken by a raw client.

use lectern::wire::{
    FailureCode, Limits, TeacherCard,
    proto::{
        DescribeRequest, Example, Hello, SERVICE_NAME, StudentMessage,
        student_message::Message as Says, teacher_client::TeacherClient,
    },
};
use teacher_server::serve::ServeConfig;
use tonic::Code;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Raw, Server, block_on, example, hello, nobodys, rows_alone, teacher};

fn limited(limits: Limits) -> Server {
    Server::with(ServeConfig { limits, ..Server::config() })
}

fn examples(ids: impl IntoIterator<Item = u64>) -> Vec<Example> {
    ids.into_iter().map(|id| example(id, &format!("text {id}"))).collect()
}

#[test]
fn the_card_describes_the_model_and_comes_with_the_welcome() {
    let server = Server::start();
    let teacher = teacher();
    let card = server.card();
    assert_eq!(card.fingerprint, teacher.fingerprint().unwrap());
    assert_eq!(card.labels, ["negative", "neutral", "positive"]);
    assert_eq!(card.max_length, 64);
    assert_eq!(card.parameters, teacher.parameters().count() as u64);
    assert_eq!(card.limits, Limits::default());
    block_on(async {
        let described =
            TeacherClient::new(server.channel().await).describe(DescribeRequest {}).await.unwrap();
        let (_raw, welcome) = Raw::open(server.channel().await, hello()).await.unwrap();
        assert_eq!(welcome.credits as usize, card.limits.credits);
        assert_eq!(welcome.card, Some(described.into_inner()));
        assert_eq!(TeacherCard::try_from(welcome.card.unwrap()).unwrap(), card);
    });
}

#[test]
fn messages_out_of_order_end_the_stream_as_invalid() {
    let server = Server::start();
    block_on(async {
        let mut early = Raw::silent(server.channel().await).await;
        early.ask(examples([1])).await;
        let status = early.status().await;
        assert_eq!(
            (status.code(), status.message().contains("hello")),
            (Code::InvalidArgument, true)
        );

        let (mut twice, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        twice.say(Says::Hello(hello())).await;
        assert_eq!(twice.status().await.code(), Code::InvalidArgument);

        let (mut empty, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        empty.say_raw(StudentMessage { message: None }).await;
        assert_eq!(empty.status().await.code(), Code::InvalidArgument);
    });
}

#[test]
fn a_hello_that_cannot_be_met_is_refused_with_what_is_wrong() {
    let server = Server::start();
    let ours = server.card().fingerprint;
    block_on(async {
        let refused = async |hello: Hello| {
            let opened = Raw::open(server.channel().await, hello).await;
            opened.map(|(_, welcome)| welcome).unwrap_err()
        };
        let other = Hello { expected_fingerprint: nobodys().to_string(), ..hello() };
        let status = refused(other).await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        for fingerprint in [ours.as_str(), nobodys().as_str()] {
            assert!(status.message().contains(fingerprint), "{}", status.message());
        }
        let newer = refused(Hello { encoding: 99, ..hello() }).await;
        assert_eq!((newer.code(), newer.message().contains("99")), (Code::InvalidArgument, true));
        let wordy = refused(Hello { experiment: "x".repeat(257), ..hello() }).await;
        assert_eq!(wordy.code(), Code::InvalidArgument);
        let own = Hello { expected_fingerprint: ours.to_string(), ..hello() };
        assert!(Raw::open(server.channel().await, own).await.is_ok());
    });
}

#[test]
fn credits_bound_what_is_in_flight_and_come_back_with_each_answer() {
    let server = limited(Limits { credits: 8, ..Limits::default() });
    block_on(async {
        let (mut raw, welcome) = Raw::open(server.channel().await, hello()).await.unwrap();
        assert_eq!(welcome.credits, 8);
        for round in 0..4 {
            raw.ask(examples(round * 8..round * 8 + 8)).await;
            raw.collect(8).await;
        }
        raw.ask(examples(100..109)).await;
        let status = raw.status().await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("9 examples"), "{}", status.message());
    });
}

#[test]
fn a_message_over_the_limit_exhausts_the_stream() {
    let server = limited(Limits { max_message_bytes: 4096, ..Limits::default() });
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        raw.ask(vec![example(1, &"x".repeat(5000))]).await;
        assert_eq!(raw.status().await.code(), Code::ResourceExhausted);
    });
}

#[test]
fn an_id_may_be_used_again_once_it_is_answered_and_not_before() {
    let server = Server::start();
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        for text in ["first", "second"] {
            raw.ask(vec![example(7, text)]).await;
            assert!(raw.collect(1).await[&7].is_ok());
        }
        raw.ask(vec![example(7, "third"), example(8, "fourth"), example(7, "fifth")]).await;
        let status = raw.status().await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("id 7"), "{}", status.message());
    });
}

#[test]
fn ids_of_64_bits_come_back_as_they_went() {
    let server = Server::start();
    let ids = [0, 1, (1 << 53) + 1, 1 << 63, u64::MAX];
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        raw.ask(examples(ids)).await;
        let answers = raw.collect(ids.len()).await;
        assert!(ids.iter().all(|id| answers[id].is_ok()));
    });
}

#[test]
fn an_example_that_cannot_be_taken_fails_alone() {
    let server = limited(Limits { max_example_bytes: 32, ..Limits::default() });
    let good = [("a good film".to_owned(), None), ("dull".to_owned(), Some("x".repeat(28)))];
    let expected = rows_alone(&good);
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let paired = |id, pair: String| Example { text_pair: Some(pair), ..example(id, "dull") };
        raw.ask(vec![
            example(1, ""),
            example(2, &good[0].0),
            example(3, &"x".repeat(33)),
            paired(4, "x".repeat(29)),
            paired(5, "x".repeat(28)),
        ])
        .await;
        let answers = raw.collect(5).await;
        let code = |id: u64| answers[&id].as_ref().unwrap_err().code;
        assert_eq!(code(1), FailureCode::EmptyText);
        assert_eq!(code(3), FailureCode::TooLarge);
        assert_eq!(code(4), FailureCode::TooLarge);
        let message = &answers[&3].as_ref().unwrap_err().message;
        assert!(message.contains("33 bytes") && message.contains("32"), "{message}");
        for (id, expected) in [2, 5].into_iter().zip(&expected) {
            let row = answers[&id].as_ref().unwrap();
            // Another batch composition changes the order of float32 sums.
            assert!(row.logits.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        // A refusal gives its credit back like a row: the stream goes on.
        raw.ask(vec![example(1, "again")]).await;
        assert!(raw.collect(1).await[&1].is_ok());
    });
}

#[test]
fn truncated_texts_are_flagged_when_computed_and_when_remembered() {
    let server = Server::start();
    // 62 words and two special tokens are the fixture's 64; one word more is cut off.
    let (fits, long) = ("film ".repeat(62), "film ".repeat(63));
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        for _ in 0..2 {
            raw.ask(vec![example(1, &fits), example(2, &long)]).await;
            let answers = raw.collect(2).await;
            let (fits, long) = (answers[&1].as_ref().unwrap(), answers[&2].as_ref().unwrap());
            assert_eq!((fits.truncated, long.truncated), (false, true));
            // What is left of the longer text is the shorter one; both have the same tokens.
            assert!(fits.logits.iter().zip(long.logits.iter()).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    });
    assert_eq!(server.stop().from_memory, 2);
}

#[test]
fn an_absent_and_an_empty_second_text_are_two_contents() {
    let server = Server::start();
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let empty = Example { text_pair: Some(String::new()), ..example(2, "film") };
        raw.ask(vec![example(1, "film"), empty]).await;
        let answers = raw.collect(2).await;
        assert_ne!(answers[&1].as_ref().unwrap().content, answers[&2].as_ref().unwrap().content);
    });
    assert_eq!(server.stop().computed, 2);
}

#[test]
fn a_stream_closed_by_the_student_ends_without_error_after_its_last_answer() {
    let server = Server::start();
    block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        raw.ask(examples(0..50)).await;
        let mut incoming = raw.close();
        let mut answered = 0;
        while let Some(message) = incoming.message().await.unwrap() {
            if let Some(lectern::wire::proto::teacher_message::Message::Rows(rows)) =
                message.message
            {
                answered += rows.ids.len();
            }
        }
        assert_eq!(answered, 50);
    });
}

#[test]
fn health_and_reflection_know_the_service() {
    let server = Server::start();
    block_on(async {
        let channel = server.channel().await;
        let mut health = HealthClient::new(channel.clone());
        for service in ["", SERVICE_NAME] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let status = health.check(request).await.unwrap().into_inner().status;
            assert_eq!(status, ServingStatus::Serving as i32, "{service:?}");
        }
        let list = MessageRequest::ListServices(String::new());
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let mut answers = ServerReflectionClient::new(channel)
            .server_reflection_info(tokio_stream::once(request))
            .await
            .unwrap()
            .into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(services)) = answer else {
            panic!("{answer:?}")
        };
        assert!(services.service.iter().any(|service| service.name == SERVICE_NAME));
    });
}
