//! HTTP/1 connections that nobody speaks on: hyper, with its buffers, is made again when there is something to say.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    inbox: Mutex<Inbox>,
    driver: AtomicWaker,
    /// Whether the socket has all that hyper was given to write.
    is_flushed: AtomicBool,
}

#[derive(Default)]
struct Inbox {
    news: Option<News>,
    /// The task has ended.
    is_closed: bool,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").finish_non_exhaustive()
    }
}

impl Rest {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when nobody is there to hear it.
    fn tell(&self, news: News) -> bool {
        let mut inbox = self.inbox();
        if inbox.is_closed {
            return false;
        }
        inbox.news = Some(news);
        drop(inbox);
        self.has_news.store(true, Ordering::Release);
        self.driver.wake();
        true
    }

    /// The last news, if there are any since the last look; wakes the caller's task for the next.
    pub fn poll_news(&self, cx: &Context<'_>) -> Option<News> {
        self.driver.register(cx.waker());
        if !self.has_news.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.inbox().news.take()
    }

    /// The task that drives the connection has ended.
    pub fn close(&self) {
        *self.inbox() = Inbox {
            news: None,
            is_closed: true,
        };
    }

    fn is_closed(&self) -> bool {
        self.inbox().is_closed
    }

    pub fn is_flushed(&self) -> bool {
        self.is_flushed.load(Ordering::Acquire)
    }

    pub fn set_flushed(&self, is_flushed: bool) {
        self.is_flushed.store(is_flushed, Ordering::Release);
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
    /// Lets hyper go, if it has nothing left to write. Only between requests, or when all that it has of a response was
    /// taken.
    pub fn rest(&mut self, connection: &Arc<Connection>) {
        let is_idle = matches!(self, Self::Hyper(_)) && connection.rest.is_flushed();
        // Told before its sender goes, for which hyper would close the connection.
        if is_idle && connection.rest.tell(News::Rest) {
            *self = Self::Resting(Resting(Some(Arc::clone(connection))));
        }
    }

    pub fn is_resting(&self) -> bool {
        matches!(self, Self::Resting(_))
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Self::Hyper(sender) => sender.is_closed(),
            Self::Resting(Resting(connection)) => {
                connection.as_ref().is_none_or(|connection| connection.rest.is_closed())
            }
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
            if !connection.rest.tell(News::Speak(driver)) {
                return false;
            }
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
