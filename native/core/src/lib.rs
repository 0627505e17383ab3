//! The HTTP logic of sluice. Knows nothing of JavaScript.
//!
//! [`Agent::dispatch`] spawns [`execute_request`] on the runtime that polls it and returns a [`RequestController`].
//! A response reaches its [`DispatchHandler`] as start, data, end or error; between two frames the loop waits in
//! [`PauseState::wait_if_paused`], so that TCP (or the HTTP/2 window) pushes back on the server.
#![forbid(unsafe_code)]

mod address_policy;
mod agent;
mod body_queue;
mod connection;
mod controller;
mod credit;
mod decode;
mod direct;
mod embedder;
mod error;
mod execute;
mod file_body;
mod file_sink;
mod frames;
mod handler;
mod header_list;
mod no_proxy;
mod origin;
mod page_cache;
mod pause;
mod piece;
mod prefetch;
mod proxy;
mod proxy_url;
mod record_queue;
mod redirect;
mod request;
mod resolve;
mod response;
mod silence;
mod size_limit;
mod spare;
mod sync;
mod system_proxy;
mod tls;
pub mod transport;
mod tunnel;
mod upload;
mod upload_flow;
mod upload_progress;
mod upload_queue;
mod vigil;

pub use address_policy::AddressPolicy;
pub use agent::{Agent, AgentConfig};
pub use body_queue::{BodyEnd, BodyQueue, ReadState};
pub use connection::{ConnectionEvent, ConnectionEventKind, ConnectionInfo, ConnectionObserver, Starvation};
pub use controller::RequestController;
pub use credit::{ByteGauge, Credit};
pub use direct::{Direct, DirectRead};
pub use embedder::Embedder;
pub use error::{CoreError, DispatchError, SystemError};
pub use execute::execute_request;
pub use file_body::FileBody;
pub use file_sink::{PipeEnd, pipe_to_file};
pub use handler::DispatchHandler;
pub use header_list::HeaderList;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method};
pub use ipnet::IpNet;
pub use origin::Origin;
pub use pause::{PauseReason, PauseState};
pub use proxy::{Proxy, ProxyProtocol, ProxyRules, ProxyUrls};
pub use proxy_url::ProxySetting;
pub use record_queue::{RecordQueue, Records};
pub use redirect::RedirectPolicy;
pub use request::{DispatchOptions, FetchOptions, RequestBody};
pub use resolve::DnsOptions;
pub use response::{RedirectedTo, ResponseStart};
pub use tls::{ClientIdentity, TlsOptions, TlsVersions};
pub use upload::UploadError;
pub use upload_queue::{Pushed, UploadQueue};
pub use vigil::Vigil;
