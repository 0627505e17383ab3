//! The JavaScript thread's handle of one request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use neon::prelude::*;
use neon::types::JsUint8Array;
use neon::types::buffer::TypedArray;
use sluice_core::{HeaderList, PauseReason, Pushed, UploadError, UploadQueue};
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::event_loop::{EventLoop, SocketWatch};
use crate::handler::Exchange;

/// How far a response's reader has come, as starvation has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The response is not there yet.
    NoHead,
    /// Nobody has read since the last look.
    Unread,
    Read,
}

pub struct RequestHandleInstance {
    pub exchange: Arc<Exchange>,
    /// Set for a streamed request body, and for a tunnel's outgoing direction.
    pub upload: Option<Arc<UploadQueue>>,
    /// A dispatched request is awaited until it ends, a fetched one while its head, a read or its upload is.
    pub is_dispatched: bool,
    pub is_uploading: Cell<bool>,
    pub awaits: Cell<bool>,
    /// Counted among the requests that keep the process alive.
    pub is_awaited: Cell<bool>,
    /// Set while the body goes into a file.
    pub pipe: RefCell<Option<CancellationToken>>,
    /// Set once its reader has waited at the socket.
    pub watch: RefCell<Option<SocketWatch>>,
    /// Aborted, and known only until its file is done with.
    pub is_aborted: Cell<bool>,
    pub reading: Cell<Reading>,
}

impl RequestHandleInstance {
    /// The upload queue of a tunnel, which ends with its reader.
    pub fn tunnel(&self) -> Option<&Arc<UploadQueue>> {
        self.upload.as_ref().filter(|_| !self.is_uploading.get())
    }

    /// Somebody reads the response.
    pub fn note_read(&self) {
        if self.reading.get() == Reading::Unread {
            self.reading.set(Reading::Read);
        }
    }

    /// Whether the response is there, and nobody has read of it since the last look or waits to.
    pub fn look(&self) -> bool {
        let is_left = if self.is_dispatched {
            self.exchange
                .controller
                .pause_state()
                .is_paused_by(PauseReason::Consumer)
        } else {
            !self.is_uploading.get()
        };
        let reading = self.reading.get();
        if reading == Reading::Read {
            self.reading.set(Reading::Unread);
        }
        reading == Reading::Unread && is_left && !self.awaits.get() && !self.is_piping()
    }

    pub fn is_piping(&self) -> bool {
        self.pipe.borrow().is_some()
    }

    pub fn stop_pipe(&self) {
        if let Some(stop) = self.pipe.borrow().as_ref() {
            stop.cancel();
        }
    }

    /// One `readable` completion will come of the socket itself. False where only the runtime can wait.
    pub fn wait_at_socket(&self, event_loop: &Rc<EventLoop>) -> bool {
        let Exchange {
            id, queue, completions, ..
        } = &*self.exchange;
        let Some(left) = queue.left_in_socket() else {
            return false;
        };
        let mut watch = self.watch.borrow_mut();
        if watch.is_none() {
            *watch = queue
                .socket()
                .and_then(|socket| SocketWatch::open(event_loop, socket, *id, completions));
        }
        watch.as_ref().is_some_and(|watch| watch.wait(left))
    }

    /// It will be told, or has been: its wait at the socket is over, and the completion under way.
    pub fn was_told(&self) -> bool {
        self.watch.borrow().as_ref().is_some_and(|watch| !watch.is_waiting())
    }

    /// No wait at the socket goes on.
    pub fn stop_watch(&self) {
        if let Some(watch) = self.watch.borrow().as_ref() {
            watch.stop();
        }
    }

    pub fn has_watch(&self) -> bool {
        self.watch.borrow().is_some()
    }

    /// Nobody will wait at the socket again.
    pub fn leave_socket(&self) {
        self.watch.borrow_mut().take();
    }

    /// Drops the connection, and every byte held.
    pub fn abort(&self) {
        self.exchange.controller.abort();
        self.release();
    }

    /// Drops every byte held, and the connection unless the engine has the whole rest already.
    pub fn cancel(&self) {
        self.exchange.controller.cancel();
        self.release();
    }

    fn release(&self) {
        self.exchange.queue.close();
        self.leave_socket();
        self.stop_pipe();
    }
}

/// The id that the first argument is.
pub fn id_argument(cx: &mut FunctionContext<'_>) -> NeonResult<u32> {
    let number = cx.argument::<JsNumber>(0)?.value(cx);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ids are made as 32 bit words"
    )]
    Ok(number as u32)
}

/// `requestHandleAbort(id)`
pub fn abort<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    end(environment, &mut cx, RequestHandleInstance::abort)
}

/// `requestHandleCancel(id)`: the body's last reader is gone.
pub fn cancel<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    end(environment, &mut cx, RequestHandleInstance::cancel)
}

fn end<'cx>(
    environment: &Environment,
    cx: &mut FunctionContext<'cx>,
    how: fn(&RequestHandleInstance),
) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(cx)?;
    let is_piping = environment.with(id, |request| {
        how(request);
        request.is_aborted.set(true);
        request.is_piping()
    });
    // The caller still awaits the end of a pipe, to close its file.
    if is_piping == Some(false) {
        environment.remove(cx, id);
    }
    Ok(cx.undefined())
}

/// `requestHandleProceed(id)`: the handler lets the request go out.
pub fn proceed<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    environment.with(id, |request| request.exchange.go_ahead.give());
    Ok(cx.undefined())
}

/// `requestHandlePause(id)`
pub fn pause<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    environment.with(id, |request| request.exchange.controller.pause());
    Ok(cx.undefined())
}

/// `requestHandleResume(id)`
pub fn resume<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    environment.with(id, |request| request.exchange.controller.resume());
    Ok(cx.undefined())
}

/// `uploadWrite(id, chunk)`: the credit left, in bytes; NaN where nobody takes more.
pub fn upload_write<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsNumber> {
    let id = id_argument(&mut cx)?;
    let chunk = cx.argument::<JsUint8Array>(1)?;
    let left = environment.with(id, |request| {
        let Some(upload) = request.upload.as_ref() else {
            return 0.0;
        };
        let left = upload.push_copy(chunk.as_slice(&cx));
        if upload.is_over() {
            environment.hold_upload(&mut cx, request, false);
            return f64::NAN;
        }
        #[expect(clippy::cast_precision_loss, reason = "JavaScript numbers")]
        let left = left as f64;
        left
    });
    Ok(cx.number(left.unwrap_or(0.0)))
}

/// `uploadFrom(id, body)`: whether there is more to take; `undefined` for a body of another length than announced.
pub fn upload_from<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsValue> {
    let id = id_argument(&mut cx)?;
    let body = cx.argument::<JsUint8Array>(1)?;
    let pushed = environment.with(id, |request| {
        let Some(upload) = request.upload.as_ref() else {
            return Ok(Pushed::Over);
        };
        let pushed = upload.push_from(body.as_slice(&cx))?;
        environment.hold_upload(&mut cx, request, pushed == Pushed::More);
        Ok::<_, UploadError>(pushed)
    });
    Ok(match pushed.unwrap_or(Ok(Pushed::Over)) {
        Ok(pushed) => cx.boolean(pushed == Pushed::More).upcast(),
        Err(_) => cx.undefined().upcast(),
    })
}

/// `uploadEnd(id, trailers)`: names and values, each ended by NUL but the last; none if it is empty.
pub fn upload_end<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    let text = cx.argument::<JsString>(1)?.value(&mut cx);
    let text: Vec<u8> = text
        .chars()
        .filter_map(|character| u8::try_from(character).ok())
        .collect();
    let trailers = match HeaderList::from_text(text).to_map() {
        Ok(trailers) => trailers,
        Err(error) => return cx.throw_error(error.to_string()),
    };
    environment.with(id, |request| {
        if let Some(upload) = &request.upload {
            upload.finish_with(trailers);
        }
        environment.hold_upload(&mut cx, request, false);
    });
    Ok(cx.undefined())
}
