//! The engine an agent was asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::reqwest::{ReqwestBody, ReqwestLease, ReqwestTransport};
use super::wire::{WireBody, WireLease, WireTransport};
use super::{Route, Transport, TransportBody, TransportConfig, TransportLease, WireRequest, WireResponse};
use crate::connection::ConnectionInfo;
use crate::direct::Direct;
use crate::error::CoreError;
use crate::response::ResponseStart;

/// Which engine speaks HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineKind {
    #[default]
    Reqwest,
    Wire,
}

/// Either engine behind the one seam.
#[derive(Debug)]
pub enum Engine {
    Reqwest(Box<ReqwestTransport>),
    Wire(Box<WireTransport>),
}

impl Engine {
    /// # Errors
    /// [`CoreError::InvalidArgument`] for settings that cannot work.
    pub fn new(kind: EngineKind, config: TransportConfig) -> Result<Self, CoreError> {
        Ok(match kind {
            // reqwest says of a refused CONNECT only that it was refused.
            EngineKind::Reqwest if config.proxies.is_some() => Self::Wire(Box::new(WireTransport::new(config))),
            EngineKind::Reqwest => Self::Reqwest(Box::new(ReqwestTransport::new(config)?)),
            EngineKind::Wire => Self::Wire(Box::new(WireTransport::new(config))),
        })
    }
}

impl Transport for Engine {
    type Lease = EngineLease;

    async fn checkout(&self, route: Route) -> Result<EngineLease, CoreError> {
        match self {
            Self::Reqwest(engine) => Ok(EngineLease::Reqwest(engine.checkout(route).await?)),
            Self::Wire(engine) => Ok(EngineLease::Wire(engine.checkout(route).await?)),
        }
    }

    fn destroy(&self) {
        match self {
            Self::Reqwest(engine) => engine.destroy(),
            Self::Wire(engine) => engine.destroy(),
        }
    }
}

/// A connection of either engine.
#[derive(Debug)]
pub enum EngineLease {
    Reqwest(ReqwestLease),
    Wire(WireLease),
}

impl TransportLease for EngineLease {
    type Body = EngineBody;

    fn info(&self) -> Option<&Arc<ConnectionInfo>> {
        match self {
            Self::Reqwest(lease) => lease.info(),
            Self::Wire(lease) => lease.info(),
        }
    }

    async fn send(
        self,
        request: &mut WireRequest,
        on_informational: &mut (dyn FnMut(ResponseStart) + Send),
    ) -> Result<WireResponse<EngineBody>, CoreError> {
        match self {
            // Boxed, or every request of the other engine would carry the room for it.
            Self::Reqwest(lease) => Ok(Box::pin(lease.send(request, on_informational))
                .await?
                .map(EngineBody::Reqwest)),
            Self::Wire(lease) => Ok(lease.send(request, on_informational).await?.map(EngineBody::Wire)),
        }
    }
}

/// A body of either engine.
#[derive(Debug)]
pub enum EngineBody {
    Reqwest(ReqwestBody),
    Wire(WireBody),
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = CoreError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CoreError>>> {
        match self.get_mut() {
            Self::Reqwest(body) => Pin::new(body).poll_frame(cx),
            Self::Wire(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Reqwest(body) => body.is_end_stream(),
            Self::Wire(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Reqwest(body) => body.size_hint(),
            Self::Wire(body) => body.size_hint(),
        }
    }
}

impl TransportBody for EngineBody {
    fn direct(&self) -> Option<Arc<dyn Direct>> {
        match self {
            Self::Reqwest(_) => None,
            Self::Wire(body) => body.direct(),
        }
    }
}
