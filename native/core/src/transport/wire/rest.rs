//! HTTP/1 connections that nobody speaks on: hyper, with its buffers, is made again when there is something to say.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use hyper::client::conn::http1;

use super::connection::Connection;
use super::open::speak_http1;
use super::outgoing::OutgoingBody;
use crate::credit::ByteGauge;
use crate::error::CoreError;

/// Runs hyper's end of a connection.
pub type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// What the task that drives a connection has to know.
pub enum News {
    /// Nobody speaks: hyper can go.
    Rest,
    Speak(Driver),
}

/// Where that task finds it.
#[derive(Default)]
pub struct Rest {
    has_news: AtomicBool,
    news: Mutex<Option<News>>,
    driver: AtomicWaker,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").finish_non_exhaustive()
    }
}

impl Rest {
    fn tell(&self, news: News) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        self.has_news.store(true, Ordering::Release);
        self.driver.wake();
    }

    /// The last news, if there are any since the last look; wakes the caller's task for the next.
    pub fn poll_news(&self, cx: &Context<'_>) -> Option<News> {
        self.driver.register(cx.waker());
        if !self.has_news.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The right to send on an HTTP/1 connection, which closes when this is dropped.
#[derive(Debug)]
pub enum Http1Sender {
    Hyper(http1::SendRequest<OutgoingBody>),
    Resting(Resting),
}

/// Closes its connection when it is dropped, as hyper's sender does.
#[derive(Debug)]
pub struct Resting(Option<Arc<Connection>>);

impl Drop for Resting {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.switch.kill(CoreError::Informational("reset".into()));
        }
    }
}

impl Http1Sender {
    /// Lets hyper go. Only between requests, or when all that it has of a response was taken.
    pub fn rest(&mut self, connection: &Arc<Connection>) {
        if matches!(self, Self::Hyper(_)) {
            // Told before its sender goes, for which hyper would close the connection.
            connection.rest.tell(News::Rest);
            *self = Self::Resting(Resting(Some(Arc::clone(connection))));
        }
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Self::Hyper(sender) => sender.is_closed(),
            Self::Resting(Resting(connection)) => connection.as_ref().is_none_or(|connection| connection.is_over()),
        }
    }

    /// Whether the connection can take a request, as soon as it can.
    pub async fn ready(&mut self, gauge: &Arc<ByteGauge>) -> bool {
        if let Self::Resting(resting) = self {
            let Some(connection) = resting.0.take() else {
                return false;
            };
            let Some((sender, driver)) = speak_http1(&connection, gauge).now_or_never().flatten() else {
                return false;
            };
            connection.rest.tell(News::Speak(driver));
            *self = Self::Hyper(sender);
        }
        match self {
            Self::Hyper(sender) => sender.is_ready() || sender.ready().await.is_ok(),
            Self::Resting(_) => false,
        }
    }

    /// hyper's, once [`Http1Sender::ready`] has said yes.
    pub fn hyper(&mut self) -> Option<&mut http1::SendRequest<OutgoingBody>> {
        match self {
            Self::Hyper(sender) => Some(sender),
            Self::Resting(_) => None,
        }
    }
}
