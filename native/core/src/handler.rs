//! Who receives a response.

use bytes::Bytes;
use http::HeaderMap;

use crate::error::DispatchError;
use crate::response::ResponseStart;

/// Receives one response. Calls are serial: start, data any number of times, then exactly one of end and error.
/// A failure before the head is an error alone. All run on the runtime's thread.
pub trait DispatchHandler: Send + 'static {
    fn on_response_start(&mut self, start: ResponseStart) -> impl Future<Output = ()> + Send;

    /// A frame of the body, never empty. Backpressure is the pause state's, not this future's.
    fn on_response_data(&mut self, frame: Bytes) -> impl Future<Output = ()> + Send;

    fn on_response_end(&mut self, trailers: HeaderMap) -> impl Future<Output = ()> + Send;

    fn on_response_error(&mut self, error: DispatchError) -> impl Future<Output = ()> + Send;

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
