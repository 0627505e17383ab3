//! A body moved into a file without leaving the runtime.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use sluice_core::{CoreError, PipeEnd, pipe_to_file};
use sluice_test_macros::both_engines;
use tokio_util::sync::CancellationToken;

use crate::support::mock::{mock_agent, mock_get};
use crate::support::raw_server::RawServer;
use crate::support::reader::{Reader, dispatch};
use crate::support::{agent, get, pattern, settle, temporary_path};

/// A file that goes when the test does.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        Self(temporary_path())
    }

    fn create(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&self.0)
            .unwrap()
    }

    fn content(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn pipe(reader: &Reader, file: File) -> (u64, PipeEnd) {
    pipe_to_file(&reader.queue, file, &CancellationToken::new()).await
}

#[both_engines]
async fn a_whole_body_is_in_the_file() {
    const LENGTH: usize = 20_000_000;
    let server = RawServer::bind();
    let agent = agent();
    let mut reader = dispatch(&agent, get(&server.origin()));
    let (mut connection, _) = server.request().await;
    connection
        .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n"))
        .await;
    reader.events.start().await;
    let sending = tokio::spawn(async move {
        connection.send(pattern(0, LENGTH)).await;
        connection
    });
    let target = Temporary::new();
    let (written, end) = pipe(&reader, target.create()).await;
    assert_eq!(written, LENGTH as u64);
    assert!(matches!(end, PipeEnd::Source));
    assert!(reader.queue.take_end().unwrap().is_ok());
    assert!(target.content() == pattern(0, LENGTH));
    assert!(
        reader.most_held() < 2 * agent.config().window + reader.largest_frame(),
        "{}",
        reader.most_held()
    );
    assert_eq!(agent.gauge().held(), 0);
    sending.await.unwrap();
}

#[tokio::test]
async fn bytes_go_to_the_files_position() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("XYZ");
    drop(server);
    let target = Temporary::new();
    let mut file = target.create();
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let mut after = file.try_clone().unwrap();
    assert_eq!(pipe(&reader, file).await.0, 3);
    assert_eq!(target.content(), b"0123XYZ789");
    let mut rest = Vec::new();
    after.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"789");
}

#[tokio::test]
async fn a_failed_body_leaves_what_came_and_its_error() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("hello");
    server.fail(CoreError::BodyTimeout);
    let target = Temporary::new();
    let (written, end) = pipe(&reader, target.create()).await;
    assert!(matches!((written, end), (5, PipeEnd::Source)));
    assert_eq!(reader.queue.take_end().unwrap().unwrap_err(), CoreError::BodyTimeout);
    assert_eq!(target.content(), b"hello");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_full_disk_is_the_files_error() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("hello");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    match pipe(&reader, full).await {
        (0, PipeEnd::File(error)) => assert_eq!(error.raw_os_error(), Some(28), "ENOSPC"),
        other => panic!("expected the file's error, got {other:?}"),
    }
    assert_eq!(agent.gauge().held(), 0);
}

#[tokio::test]
async fn a_stop_ends_a_pipe_that_waits_and_the_rest_can_be_read() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("hello");
    let target = Temporary::new();
    let stop = CancellationToken::new();
    let piping = tokio::spawn({
        let (queue, stop, file) = (reader.queue.clone(), stop.clone(), target.create());
        async move { pipe_to_file(&queue, file, &stop).await }
    });
    while target.content().len() < 5 {
        settle().await;
    }
    stop.cancel();
    assert!(matches!(piping.await.unwrap(), (5, PipeEnd::Stopped)));
    assert_eq!(agent.gauge().held(), 0);
    server.send(", world");
    drop(server);
    let mut rest = Vec::new();
    reader.read_all(|bytes| rest.extend_from_slice(bytes)).await.unwrap();
    assert_eq!(rest, b", world");
}

#[tokio::test]
async fn a_pipe_that_was_stopped_before_writes_nothing() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    server.send("hello");
    reader.pushed().await;
    let target = Temporary::new();
    let stop = CancellationToken::new();
    stop.cancel();
    let end = pipe_to_file(&reader.queue, target.create(), &stop).await;
    assert!(matches!(end, (0, PipeEnd::Stopped)));
    assert_eq!(agent.gauge().held(), 5);
}

#[tokio::test]
async fn a_pipe_of_a_closed_queue_ends() {
    let (agent, mut requests) = mock_agent();
    let mut reader = dispatch(&agent, mock_get());
    let server = requests.recv().await.unwrap().respond();
    reader.events.start().await;
    let target = Temporary::new();
    let stop = CancellationToken::new();
    let piping = tokio::spawn({
        let (queue, stop, file) = (reader.queue.clone(), stop.clone(), target.create());
        async move { pipe_to_file(&queue, file, &stop).await }
    });
    settle().await;
    reader.controller.abort();
    reader.queue.close();
    server.dropped().await;
    stop.cancel();
    assert!(matches!(piping.await.unwrap(), (0, PipeEnd::Stopped)));
    assert_eq!(agent.gauge().held(), 0);
}
