//! Reading a response's body from JavaScript: one copy per byte, no waiting.

use neon::prelude::*;
use neon::types::JsUint8Array;
use neon::types::buffer::TypedArray;
use sluice_core::ReadState;

use crate::environment::Environment;
use crate::marshal::{error_text, headers_text};
use crate::request_handle::id_argument;

/// `bodyRead(id, max, readsOn)`: fresh memory with what is queued, or undefined. Who reads on with `bodyReadInto` is told
/// when that may find more.
pub fn read<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsValue> {
    let id = id_argument(&mut cx)?;
    let max = cx.argument::<JsNumber>(1)?.value(&mut cx);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as casts saturate"
    )]
    let max = max as usize;
    let reads_on = cx.argument::<JsBoolean>(2)?.value(&mut cx);
    let exchange = environment.with(id, |request| {
        if !reads_on {
            request.stop_watch();
        }
        if max > 0 {
            request.note_read();
        }
        request.exchange.clone()
    });
    let Some(exchange) = exchange else {
        environment.set_read_state(&mut cx, ReadState::Ended);
        return Ok(cx.undefined().upcast());
    };
    let (queued, state) = exchange.queue.poll_len(reads_on);
    if queued == 0 || max == 0 {
        environment.set_read_state(&mut cx, state);
        if state == ReadState::Empty {
            environment.with(id, |request| environment.hold(&mut cx, request, true));
        }
        return Ok(cx.undefined().upcast());
    }
    // SAFETY: every byte is written below: the queue holds at least `queued` bytes, and this thread alone takes from
    // it. Breach: the byte-for-byte tests read garbage.
    let mut chunk = unsafe { JsBuffer::uninitialized(&mut cx, queued.min(max)) }?;
    let target = chunk.as_mut_slice(&mut cx);
    let (copied, state) = if reads_on {
        exchange.queue.read(target)
    } else {
        exchange.queue.read_queued(target)
    };
    debug_assert_eq!(copied, queued.min(max));
    environment.set_read_state(&mut cx, state);
    environment.count_crossed(copied);
    Ok(chunk.upcast())
}

/// `bodyReadInto(id, view)`: the bytes written into the caller's view.
pub fn read_into<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsNumber> {
    let id = id_argument(&mut cx)?;
    let mut view = cx.argument::<JsUint8Array>(1)?;
    let exchange = environment.with(id, |request| {
        request.stop_watch();
        request.note_read();
        request.exchange.clone()
    });
    let Some(exchange) = exchange else {
        environment.set_read_state(&mut cx, ReadState::Ended);
        return Ok(cx.number(0));
    };
    let (copied, state) = exchange.queue.read(view.as_mut_slice(&mut cx));
    environment.set_read_state(&mut cx, state);
    environment.with(id, |request| {
        if copied == 0 && state == ReadState::Empty {
            environment.hold(&mut cx, request, true);
        }
        if request.has_watch() && !exchange.queue.has_socket() {
            request.leave_socket();
        }
    });
    environment.count_crossed(copied);
    #[expect(clippy::cast_precision_loss, reason = "JavaScript numbers")]
    Ok(cx.number(copied as f64))
}

/// `bodyWait(id, isPatient)`: arms one `readable` completion for a read that found the body drained. A patient one waits
/// at the socket, where that can be, and not for every few bytes.
pub fn wait<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    let is_patient = cx.argument::<JsBoolean>(1)?.value(&mut cx);
    let event_loop = is_patient.then(|| environment.event_loop(&cx)).flatten();
    let state = environment.with(id, |request| {
        let queue = &request.exchange.queue;
        if !is_patient && request.was_told() {
            return ReadState::Drained;
        }
        let state = if event_loop.is_some_and(|event_loop| request.wait_at_socket(event_loop)) {
            ReadState::Drained
        } else {
            request.stop_watch();
            queue.wait()
        };
        environment.hold(&mut cx, request, matches!(state, ReadState::Drained | ReadState::Empty));
        state
    });
    environment.set_read_state(&mut cx, state.unwrap_or(ReadState::Ended));
    Ok(cx.undefined())
}

/// `bodyEnd(id)`: the trailers, or the error's JSON; forgets the request.
pub fn end<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsString> {
    let id = id_argument(&mut cx)?;
    let request = environment.remove(&mut cx, id);
    let Some(request) = request else {
        return Ok(cx.string(""));
    };
    let text = match request.exchange.queue.take_end() {
        Some(Ok(trailers)) => {
            let mut bytes = Vec::new();
            headers_text(&trailers, &mut bytes);
            bytes.into_iter().map(char::from).collect()
        }
        Some(Err(error)) => {
            let connection = request.exchange.failed_connection();
            error_text(&error, "body", connection.as_deref())
        }
        None => String::new(),
    };
    if let Some(tunnel) = request.tunnel() {
        tunnel.finish();
    }
    Ok(cx.string(text))
}
