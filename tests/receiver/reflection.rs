//! gRPC server reflection, used in the same way as by `grpcurl`.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Version;
use prost::Message;
use prost_types::FileDescriptorSet;
use spansieve::receiver::ReceiverSettings;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use super::support::{BUDGET, Daemon, LIMIT, frame, proto};

const TRACE_SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";

async fn daemon() -> Daemon {
    let settings = ReceiverSettings { max_request_bytes: LIMIT, reflection: true };
    Daemon::serve_with(Daemon::bind().await, BUDGET, settings)
}

async fn connect(daemon: &Daemon) -> Channel {
    Endpoint::from_shared(format!("http://{}", daemon.address)).unwrap().connect().await.unwrap()
}

fn question(question: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(question) }
}

/// Sends all questions in one call; returns the answers.
async fn ask(channel: Channel, questions: Vec<MessageRequest>) -> Result<Vec<ServerReflectionResponse>, tonic::Status> {
    let questions = tonic::codegen::tokio_stream::iter(questions.into_iter().map(question).collect::<Vec<_>>());
    let mut answers = ServerReflectionClient::new(channel).server_reflection_info(questions).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

#[tokio::test]
async fn services_and_messages_are_described() {
    let daemon = daemon().await;
    let questions = vec![
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol(TRACE_SERVICE.to_owned()),
        MessageRequest::FileContainingSymbol("opentelemetry.proto.trace.v1.Span".to_owned()),
        MessageRequest::FileByFilename("opentelemetry/proto/common/v1/common.proto".to_owned()),
    ];
    let answers = ask(connect(&daemon).await, questions).await.unwrap();
    let mut services = BTreeSet::new();
    let mut files = FileDescriptorSet::default();
    for answer in answers {
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => services.extend(list.service.into_iter().map(|s| s.name)),
            MessageResponse::FileDescriptorResponse(described) => {
                let described = described.file_descriptor_proto;
                files.file.extend(described.iter().map(|file| Message::decode(&file[..]).unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    let known = ["grpc.health.v1.Health", TRACE_SERVICE, "grpc.reflection.v1.ServerReflection"];
    assert!(known.iter().all(|name| services.contains(*name)), "{services:?}");
    let names: Vec<_> = files.file.iter().map(|file| file.name().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["trace_service.proto", "trace.proto", "common.proto"]);
    assert_eq!(files.file[0].service[0].method[0].name(), "Export");
    assert!(files.file[1].message_type.iter().any(|message| message.name() == "Span"));
}

#[tokio::test]
async fn the_older_version_is_supported_too() {
    let daemon = daemon().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(connect(&daemon).await);
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let question = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let questions = tonic::codegen::tokio_stream::iter([question]);
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
}

#[tokio::test]
async fn it_is_off_by_default() {
    let daemon = Daemon::start().await;
    let list = vec![MessageRequest::ListServices(String::new())];
    assert_eq!(ask(connect(&daemon).await, list).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn invalid_questions_get_an_error_status() {
    let daemon = daemon().await;
    let symbol = |name: String| vec![MessageRequest::FileContainingSymbol(name)];
    let unknown = ask(connect(&daemon).await, symbol("no.such.Thing".to_owned())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let long = ask(connect(&daemon).await, symbol("a".repeat(5000))).await;
    assert!(long.is_err() || long.unwrap().is_empty(), "a question of 5,000 bytes gets no answer");
    let method = daemon.call("/grpc.reflection.v1.ServerReflection/Other", &[], frame(0, b"")).await;
    assert_eq!(method.code, Code::Unimplemented as i32);
    assert_eq!(daemon.export(&[], frame(0, &proto(1, 0))).await.code, 0, "spans are still accepted");
}

#[tokio::test]
async fn an_idle_call_ends_and_the_number_of_calls_is_limited() {
    let daemon = daemon().await;
    let mut calls = Vec::new();
    // The client never sends a question.
    let open = async || {
        let questions = tonic::codegen::tokio_stream::pending::<ServerReflectionRequest>();
        let mut client = ServerReflectionClient::new(connect(&daemon).await);
        client.server_reflection_info(questions).await.map(tonic::Response::into_inner)
    };
    for _ in 0..32 {
        calls.push(open().await.unwrap());
    }
    let code = open().await.unwrap_err().code();
    assert_eq!(code, Code::ResourceExhausted, "the clients at one address have half of the calls");
    for mut call in calls {
        let end = tokio::time::timeout(Duration::from_secs(15), call.message()).await.expect("the idle call ends");
        assert!(end.unwrap().is_none());
    }
    assert!(open().await.is_ok(), "a new call is accepted again");
}

#[tokio::test]
async fn it_is_for_http2_only() {
    let daemon = daemon().await;
    let headers = [("content-type", "application/grpc")];
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let request = super::support::request(http::Method::POST, path, &headers, Vec::new());
    assert_ne!(daemon.send(Version::HTTP_11, request).await.status(), 200);
    assert_eq!(daemon.export(&[], frame(0, &proto(1, 0))).await.code, 0);
}
