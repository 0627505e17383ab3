//! Files as request bodies.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use sluice_core::{CoreError, FileBody, RequestBody};
use sluice_test_macros::both_engines;
use tokio::io::AsyncReadExt;

use crate::support::raw_server::RawServer;
use crate::support::{agent, pattern, post, recorder, temporary_path};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SIZE: usize = 1_000_000;

fn file() -> Arc<File> {
    let path = temporary_path();
    let mut file = File::create_new(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(&pattern(0, SIZE)).unwrap();
    Arc::new(file)
}

#[both_engines]
async fn a_part_of_a_file_goes_out_with_its_length_and_can_go_out_again() {
    let server = RawServer::bind();
    let agent = agent();
    let body = FileBody {
        file: file(),
        start: 1000,
        length: 600_000,
        gauge: Arc::clone(agent.gauge()),
    };
    let mut connection = None;
    for _ in 0..2 {
        let (handler, mut events) = recorder();
        agent.dispatch(post(&server.origin(), RequestBody::File(body.clone())), handler);
        if connection.is_none() {
            connection = Some(server.accept().await);
        }
        let connection = connection.as_mut().unwrap();
        assert_eq!(connection.head().await.header("content-length"), Some("600000"));
        assert!(connection.body(600_000).await == pattern(1000, 600_000));
        connection.send(OK).await;
        assert!(events.finish().await.end.is_ok());
        assert_eq!(agent.gauge().held(), 0);
    }
}

#[both_engines]
async fn a_file_that_ends_early_is_a_length_mismatch() {
    let server = RawServer::bind();
    let agent = agent();
    let (handler, mut events) = recorder();
    let body = FileBody {
        file: file(),
        start: 0,
        length: SIZE as u64 + 1,
        gauge: Arc::clone(agent.gauge()),
    };
    agent.dispatch(post(&server.origin(), RequestBody::File(body)), handler);
    let (mut connection, _) = server.request().await;
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        let _ = connection.stream.read_to_end(&mut received).await;
    });
    assert_eq!(events.error().await, CoreError::RequestContentLengthMismatch);
    assert_eq!(agent.gauge().held(), 0);
    reading.await.unwrap();
}
