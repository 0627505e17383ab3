//! Who receives a response.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::body_queue::BodyQueue;
use crate::connection::ConnectionInfo;
use crate::error::DispatchError;
use crate::origin::Origin;
use crate::response::ResponseStart;

/// Receives one response. Calls are serial: connection, informational any number of times, start, data any number of
/// times, then exactly one of end and error. A failure before the head is an error alone. All run on the runtime's
/// thread.
pub trait DispatchHandler: Send + 'static {
    /// A connection is there and nothing is sent yet: sending waits for this. `None` where the engine does not say.
    fn on_connection(&mut self, _connection: Option<&Arc<ConnectionInfo>>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// The request goes on to another URL: a connection, informational responses and the rest follow anew.
    fn on_redirect(&mut self, _origin: &Origin) {}

    /// A 1xx response; the final one is still to come.
    fn on_informational(&mut self, _start: ResponseStart) {}

    fn on_response_start(&mut self, start: ResponseStart) -> impl Future<Output = ()> + Send;

    /// A frame of the body, never empty. Backpressure is the pause state's, not this future's.
    fn on_response_data(&mut self, frame: Bytes) -> impl Future<Output = ()> + Send;

    /// The queue that takes what `on_response_data` brings, where its reader may read a body from the socket instead.
    fn queue(&self) -> Option<&BodyQueue> {
        None
    }

    fn on_response_end(&mut self, trailers: HeaderMap) -> impl Future<Output = ()> + Send;

    fn on_response_error(&mut self, error: DispatchError) -> impl Future<Output = ()> + Send;

    /// The connection is a tunnel now: data and end are what it brings, the upload queue of the request is its other
    /// direction. Stands for start.
    fn on_upgrade(&mut self, start: ResponseStart) -> impl Future<Output = ()> + Send {
        self.on_response_start(start)
    }

    /// A response that was complete as soon as its head was there. Stands for start, data and end.
    fn on_response_complete(
        &mut self,
        start: ResponseStart,
        body: Bytes,
        trailers: HeaderMap,
    ) -> impl Future<Output = ()> + Send {
        async move {
            self.on_response_start(start).await;
            if !body.is_empty() {
                self.on_response_data(body).await;
            }
            self.on_response_end(trailers).await;
        }
    }
}
