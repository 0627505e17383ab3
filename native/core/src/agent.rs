//! A pool of connections and the limits of its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::controller::RequestController;
use crate::credit::ByteGauge;
use crate::error::CoreError;
use crate::execute::execute_request;
use crate::handler::DispatchHandler;
use crate::request::DispatchOptions;
use crate::transport::{Engine, EngineKind, Transport, TransportConfig};

/// Limits that a request inherits from its agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub engine: EngineKind,
    pub transport: TransportConfig,
    /// The name for SNI and for the certificate where a request names none.
    pub servername: Option<String>,
    /// Bytes one response may hold ahead of its reader.
    pub window: usize,
    /// Bytes taken from an upload's source ahead of the socket.
    pub upload_window: usize,
    /// Bytes that all bodies together may hold, but for one frame each.
    pub max_buffered: usize,
    pub headers_timeout: Option<Duration>,
    pub body_timeout: Option<Duration>,
    pub timeout: Option<Duration>,
    pub max_header_size: usize,
    pub max_response_size: Option<u64>,
    /// Of a `fetch`: body bytes after decoding, and those for each on the wire.
    pub max_decoded_size: Option<u64>,
    pub max_compression_ratio: Option<f64>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            transport: TransportConfig::default(),
            servername: None,
            window: 512 * 1024,
            upload_window: 512 * 1024,
            max_buffered: 64 * 1024 * 1024,
            headers_timeout: Some(Duration::from_secs(300)),
            body_timeout: Some(Duration::from_secs(300)),
            timeout: None,
            max_header_size: 16 * 1024,
            max_response_size: None,
            max_decoded_size: None,
            max_compression_ratio: None,
        }
    }
}

/// Sends requests through one engine. Cheap to clone.
#[derive(Debug)]
pub struct Agent<T: Transport = Engine> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    transport: T,
    config: AgentConfig,
    runtime: Handle,
    gauge: Arc<ByteGauge>,
    running: AtomicUsize,
    destroyed: CancellationToken,
}

impl<T: Transport> Clone for Agent<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Agent<Engine> {
    /// An agent whose requests run on `runtime`.
    ///
    /// # Errors
    /// [`CoreError::InvalidArgument`] for settings that cannot work.
    pub fn new(mut config: AgentConfig, runtime: Handle) -> Result<Self, CoreError> {
        let gauge = Arc::new(ByteGauge::new(config.max_buffered));
        config.transport.gauge = Arc::clone(&gauge);
        let transport = Engine::new(config.engine, config.transport.clone())?;
        Ok(Self::build(config, runtime, transport, gauge))
    }
}

impl<T: Transport> Agent<T> {
    pub fn with_transport(config: AgentConfig, runtime: Handle, transport: T) -> Self {
        let gauge = Arc::new(ByteGauge::new(config.max_buffered));
        Self::build(config, runtime, transport, gauge)
    }

    fn build(config: AgentConfig, runtime: Handle, transport: T, gauge: Arc<ByteGauge>) -> Self {
        Self {
            shared: Arc::new(Shared {
                transport,
                config,
                runtime,
                gauge,
                running: AtomicUsize::new(0),
                destroyed: CancellationToken::new(),
            }),
        }
    }

    /// Starts a request on the agent's runtime. Any thread; never blocks.
    pub fn dispatch<H: DispatchHandler>(&self, options: DispatchOptions, handler: H) -> RequestController {
        let controller = RequestController::new();
        self.shared
            .runtime
            .spawn(self.execute(options, controller.clone(), handler));
        controller
    }

    /// The same as a future, for callers that batch their spawns. To be polled on the agent's runtime.
    pub fn execute<H: DispatchHandler>(
        &self,
        options: DispatchOptions,
        controller: RequestController,
        handler: H,
    ) -> impl Future<Output = ()> + Send + use<T, H> {
        let shared = Arc::clone(&self.shared);
        let options = Box::new(options);
        async move {
            let running = Running::new(&shared.running);
            let Shared {
                transport,
                gauge,
                destroyed,
                ..
            } = &*shared;
            execute_request(transport, options, &controller, destroyed, gauge, handler).await;
            drop(running);
        }
    }

    /// Ends every running request with [`CoreError::ClientDestroyed`] and drops its connection.
    pub fn destroy(&self) {
        self.shared.destroyed.cancel();
        self.shared.transport.destroy();
    }

    pub fn config(&self) -> &AgentConfig {
        &self.shared.config
    }

    /// Counts the bytes that all bodies of this agent hold.
    pub fn gauge(&self) -> &Arc<ByteGauge> {
        &self.shared.gauge
    }

    /// Requests under way.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }
}

struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
