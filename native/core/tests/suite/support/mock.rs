//! An engine without sockets, for tests under tokio's paused clock.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use sluice_core::transport::{Route, Transport, TransportBody, TransportLease, WireRequest, WireResponse};
use sluice_core::{
    Agent, AgentConfig, ConnectionInfo, CoreError, DispatchOptions, HeaderList, HeaderMap, Method, Origin,
    ResponseStart,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

type Head = Result<WireResponse<MockBody>, CoreError>;

/// Gives every request to the test, which answers when it likes.
#[derive(Debug)]
pub struct MockTransport {
    requests: mpsc::UnboundedSender<MockRequest>,
}

#[derive(Debug)]
pub struct MockRequest {
    pub wire: WireRequest,
    head: oneshot::Sender<Head>,
}

/// The server's end of a mock body.
#[derive(Debug)]
pub struct MockServer {
    frames: mpsc::UnboundedSender<Result<Frame<Bytes>, CoreError>>,
    polls: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub struct MockBody {
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, CoreError>>,
    polls: Arc<AtomicUsize>,
}

/// An agent on a mock engine, and the requests that reach it.
pub fn mock_agent() -> (Agent<MockTransport>, mpsc::UnboundedReceiver<MockRequest>) {
    let (requests, receiver) = mpsc::unbounded_channel();
    (
        Agent::with_transport(AgentConfig::default(), Handle::current(), MockTransport { requests }),
        receiver,
    )
}

/// Without any limit.
pub fn mock_get() -> DispatchOptions {
    let origin = Origin::parse("http://mock.test").unwrap();
    DispatchOptions {
        headers_timeout: None,
        body_timeout: None,
        ..DispatchOptions::new(origin, Method::GET, "/")
    }
}

impl MockRequest {
    /// Answers 200 with a body of unknown length.
    pub fn respond(self) -> MockServer {
        self.respond_with(|server| server)
    }

    /// Answers 200; `prepare` sees the body's other end before the client does.
    pub fn respond_with(self, prepare: impl FnOnce(MockServer) -> MockServer) -> MockServer {
        let (frames, receiver) = mpsc::unbounded_channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let server = prepare(MockServer {
            frames,
            polls: Arc::clone(&polls),
        });
        let body = MockBody {
            frames: receiver,
            polls,
        };
        assert!(self.head.send(Ok(response(body))).is_ok(), "the client has gone");
        server
    }

    /// Resolves when the client has gone.
    pub async fn dropped(mut self) {
        self.head.closed().await;
    }
}

impl MockServer {
    pub fn send(&self, bytes: impl Into<Bytes>) {
        let _ = self.frames.send(Ok(Frame::data(bytes.into())));
    }

    pub fn send_trailers(&self, trailers: HeaderMap) {
        let _ = self.frames.send(Ok(Frame::trailers(trailers)));
    }

    pub fn fail(&self, error: CoreError) {
        let _ = self.frames.send(Err(error));
    }

    /// How often the body was asked for a frame.
    pub fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    /// Resolves when the client has dropped the body.
    pub async fn dropped(&self) {
        self.frames.closed().await;
    }
}

fn response(body: MockBody) -> WireResponse<MockBody> {
    WireResponse {
        start: ResponseStart {
            status: 200,
            reason: Bytes::new(),
            headers: HeaderList::new(),
            version: http::Version::HTTP_11,
            content_length: None,
            redirected: None,
        },
        body,
        upgrade: None,
    }
}

impl Transport for MockTransport {
    type Lease = MockLease;

    async fn checkout(&self, _: Route) -> Result<MockLease, CoreError> {
        Ok(MockLease {
            requests: self.requests.clone(),
        })
    }
}

#[derive(Debug)]
pub struct MockLease {
    requests: mpsc::UnboundedSender<MockRequest>,
}

impl TransportBody for MockBody {}

impl TransportLease for MockLease {
    type Body = MockBody;

    fn info(&self) -> Option<&Arc<ConnectionInfo>> {
        None
    }

    async fn send(self, wire: &mut WireRequest, _: &mut (dyn FnMut(ResponseStart) + Send)) -> Head {
        let (head, answer) = oneshot::channel();
        let wire = WireRequest {
            method: wire.method.clone(),
            target: std::mem::take(&mut wire.target),
            host: wire.host.take(),
            headers: std::mem::take(&mut wire.headers),
            body: wire.body.take(),
            upgrade: wire.upgrade.take(),
            slot: wire.slot.clone(),
            ..*wire
        };
        let _ = self.requests.send(MockRequest { wire, head });
        answer.await.expect("the test answers or holds the request")
    }
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.frames.poll_recv(cx)
    }
}
