//! The engine an agent was asked for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::reqwest::{ReqwestBody, ReqwestTransport};
use super::wire::{WireBody, WireTransport};
use super::{Transport, TransportConfig, WireRequest};
use crate::error::CoreError;

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
            EngineKind::Reqwest => Self::Reqwest(Box::new(ReqwestTransport::new(config)?)),
            EngineKind::Wire => Self::Wire(Box::new(WireTransport::new(config))),
        })
    }
}

impl Transport for Engine {
    type Body = EngineBody;

    async fn send(&self, request: WireRequest) -> Result<http::Response<EngineBody>, CoreError> {
        match self {
            Self::Reqwest(engine) => Ok(engine.send(request).await?.map(EngineBody::Reqwest)),
            Self::Wire(engine) => Ok(engine.send(request).await?.map(EngineBody::Wire)),
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
