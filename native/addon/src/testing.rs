//! Both ends of the boundary's encodings, for tests that compare what one side has said with what the other has
//! understood (`test/fuzz/records.ts`). Not part of what is shipped.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Version;
use neon::prelude::*;
use neon::types::JsUint8Array;
use neon::types::buffer::TypedArray;
use sluice_core::{
    ConnectionEvent, ConnectionEventKind, ConnectionInfo, ConnectionObserver, CoreError, DispatchHandler, HeaderList,
    HeaderMap, Origin, RedirectedTo, ResponseStart, SystemError,
};

use crate::Methods;
use crate::completions::{AgentObserver, HeadKind};
use crate::environment::Environment;
use crate::handler::{Exchange, JsDispatchHandler};
use crate::marshal::write_question;
use crate::submission::describe_batch;

pub fn add(methods: &mut Methods<'_, '_>) -> NeonResult<()> {
    methods.add("testCompletions", completions)?;
    methods.add("testSubmissions", submissions)?;
    methods.add("testHandOver", hand_over)
}

/// `testCompletions(records)`: encodes each, as the runtime would; the number of those that did not fit. Where a head is of
/// a request under way, its handler is told, and deals with what does not fit.
fn completions<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsNumber> {
    let list = cx.argument::<JsArray>(0)?;
    let mut refused = 0;
    for index in 0..list.len(&mut cx) {
        let record: Handle<JsObject> = list.prop(&mut cx, index).get()?;
        if !encode(environment, &mut cx, record)? {
            refused += 1;
        }
    }
    Ok(cx.number(refused))
}

/// `testHandOver()`: what the event loop does when the runtime has told it of records.
fn hand_over<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    environment.hand_over(&mut cx)?;
    Ok(cx.undefined())
}

/// `testSubmissions(batch)`: what was read of each record, field by field.
fn submissions<'cx>(_: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsArray> {
    let batch = cx.argument::<JsUint8Array>(0)?;
    let bytes = Bytes::copy_from_slice(batch.as_slice(&cx));
    let described = cx.empty_array();
    for (index, fields) in (0_u32..).zip(describe_batch(bytes)) {
        let list = cx.empty_array();
        for (place, field) in (0_u32..).zip(fields) {
            list.prop(&mut cx, place).set(field)?;
        }
        described.prop(&mut cx, index).set(list)?;
    }
    Ok(described)
}

struct Fields<'a, 'cx> {
    cx: &'a mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
}

impl Fields<'_, '_> {
    fn number(&mut self, name: &str) -> NeonResult<f64> {
        self.object.prop(self.cx, name).get()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "words")]
    fn word(&mut self, name: &str) -> NeonResult<u32> {
        Ok(self.number(name)? as u32)
    }

    fn flag(&mut self, name: &str) -> NeonResult<bool> {
        self.object.prop(self.cx, name).get()
    }

    fn text(&mut self, name: &str) -> NeonResult<String> {
        self.object.prop(self.cx, name).get()
    }

    fn bytes(&mut self, name: &str) -> NeonResult<Vec<u8>> {
        let value: Handle<JsUint8Array> = self.object.prop(self.cx, name).get()?;
        Ok(value.as_slice(self.cx).to_vec())
    }
}

/// False when the record did not fit.
fn encode<'cx>(
    environment: &Environment,
    cx: &mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
) -> NeonResult<bool> {
    let mut fields = Fields { cx, object };
    let queue = &environment.completions;
    let id = fields.word("id")?;
    match fields.text("kind")?.as_str() {
        "head" => {
            let start = head(&mut fields)?;
            let body = Bytes::from(fields.bytes("body")?);
            let trailers = HeaderList::from_text(fields.bytes("trailers")?)
                .to_map()
                .unwrap_or_default();
            let part = fields.text("part")?;
            if let Some(exchange) = environment.with(id, |request| Arc::clone(&request.exchange)) {
                answer(exchange, &part, start, body, trailers);
                return Ok(true);
            }
            let kind = match part.as_str() {
                "complete" => HeadKind::Complete(&body, &trailers, &Arc::default()),
                "informational" => HeadKind::Informational,
                "upgrade" => HeadKind::Upgrade,
                _ => HeadKind::Open,
            };
            return Ok(queue.head(id, &start, kind).is_ok());
        }
        "readable" => queue.readable(id),
        "ready" => queue.ready(id),
        "uploadReady" => queue.upload_ready(id),
        "error" => {
            let host = fields.text("host")?;
            queue.error(id, &error(&mut fields)?, &host, None);
        }
        "piped" => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
            let written = fields.number("written")? as u64;
            let is_stopped = fields.flag("isStopped")?;
            let failure = if fields.flag("fails")? {
                Some(error(&mut fields)?)
            } else {
                None
            };
            queue.piped(id, written, is_stopped, failure.as_ref());
        }
        "connection" => {
            let Some(origin) = Origin::parse(&fields.text("origin")?) else {
                return Ok(false);
            };
            let failure = error(&mut fields)?;
            let local = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
            let info = ConnectionInfo::new(local, None, Some(fields.word("streams")? as usize));
            let observer = AgentObserver {
                agent: id,
                completions: Arc::clone(queue),
            };
            observer.notify(ConnectionEvent {
                kind: ConnectionEventKind::Disconnect,
                origin: &origin,
                http1_only: false,
                info: Some(&info),
                error: Some(&failure),
            });
        }
        "question" => {
            let host = fields.text("host")?;
            let receiver = queue.ask(id, |out| write_question("lookup", &host, &[], out));
            // What did not fit has no sender any more; nobody waits for the answer to the others.
            let mut receiver = std::pin::pin!(receiver);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            return Ok(receiver.as_mut().poll(&mut context).is_pending());
        }
        kind => return fields.cx.throw_error(format!("no kind of record: {kind}")),
    }
    Ok(true)
}

/// A head of a request under way, as core tells its handler of it.
fn answer(exchange: Arc<Exchange>, part: &str, start: ResponseStart, body: Bytes, trailers: HeaderMap) {
    let mut handler = JsDispatchHandler::new(exchange, None);
    let told = match part {
        "complete" => handler.on_response_complete(start, body, trailers).now_or_never(),
        "upgrade" => handler.on_upgrade(start).now_or_never(),
        "informational" => {
            handler.on_informational(start);
            Some(())
        }
        _ => handler.on_response_start(start).now_or_never(),
    };
    debug_assert_eq!(told, Some(()));
}

fn head(fields: &mut Fields<'_, '_>) -> NeonResult<ResponseStart> {
    #[expect(clippy::cast_possible_truncation, reason = "a status")]
    let status = fields.word("status")? as u16;
    let length = fields.number("contentLength")?;
    let url = fields.text("redirectedTo")?;
    let is_cross_origin = fields.flag("isCrossOrigin")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
    let content_length = (length >= 0.0).then_some(length as u64);
    Ok(ResponseStart {
        status,
        reason: fields.bytes("reason")?.into(),
        headers: HeaderList::from_text(fields.bytes("headers")?),
        version: if fields.flag("isHttp2")? {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        },
        content_length,
        redirected: (!url.is_empty()).then_some(RedirectedTo { url, is_cross_origin }),
    })
}

fn error(fields: &mut Fields<'_, '_>) -> NeonResult<CoreError> {
    let message = fields.text("message")?;
    Ok(match fields.word("error")? % 4 {
        0 => CoreError::Redirect(message),
        1 => CoreError::Lookup {
            code: "EX".into(),
            message,
            hostname: "a.test".into(),
            ticket: 0,
        },
        2 => CoreError::System(SystemError {
            code: "ECONNREFUSED",
            errno: -111,
            syscall: "connect",
            address: Some(message),
            port: Some(1),
            hostname: None,
        }),
        _ => CoreError::Connects(vec![
            SystemError {
                code: "ETIMEDOUT",
                errno: -110,
                syscall: "connect",
                address: Some(message),
                port: Some(1),
                hostname: None,
            };
            3
        ]),
    })
}
