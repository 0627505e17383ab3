//! A batch of requests on its way from JavaScript to the runtime.
//!
//! A record is little-endian words, then text: origin, method, target, and header names and values, each ended by NUL
//! but the last, in latin1; then a small body. `streams/exchange.ts` encodes it. JavaScript's thread only cuts the
//! batch into records; the runtime's thread reads them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use neon::prelude::*;
use neon::types::JsUint8Array;
use neon::types::buffer::TypedArray;
use sluice_core::{
    Agent, BodyQueue, CoreError, DispatchHandler, DispatchOptions, HeaderMap, HeaderName, HeaderValue, Method, Origin,
    RequestBody, RequestController, UploadQueue,
};

use crate::environment::{Environment, word};
use crate::handler::{Exchange, JsDispatchHandler};
use crate::request_handle::{RequestHandleInstance, id_argument};
use crate::runtime::Runtime;

/// Words of a record before its text.
const WORDS: usize = 12;
const WORD_BYTES: usize = 4;
/// "The agent's own", in a word that holds a limit.
const INHERIT: u32 = u32::MAX;

const FLAG_DISPATCHED: u32 = 1;
/// The body follows the text.
const FLAG_BODY_INLINE: u32 = 1 << 1;
/// The body is the next of the array.
const FLAG_BODY_APART: u32 = 1 << 2;
/// The body will be written chunk by chunk.
const FLAG_BODY_STREAM: u32 = 1 << 3;
/// The streamed body's length is known.
const FLAG_BODY_LENGTH: u32 = 1 << 4;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Requests on the runtime, of all environments.
pub fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// One request between the two threads.
pub struct Submission {
    agent: Agent,
    exchange: Arc<Exchange>,
    record: Bytes,
    body: RequestBody,
}

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Submission {
    pub async fn run(self) {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let _running = Running;
        let Self {
            agent,
            exchange,
            record,
            body,
        } = self;
        match parse_dispatch_options(&agent, &record, body) {
            Ok(options) => {
                let host = format!("{}:{}", options.origin.host(), options.origin.port());
                let controller = exchange.controller.clone();
                agent
                    .execute(options, controller, JsDispatchHandler::new(exchange, host))
                    .await;
            }
            Err(error) => {
                JsDispatchHandler::new(exchange, String::new())
                    .on_response_error(error)
                    .await
            }
        }
    }
}

/// Reads a record; JavaScript has validated it, so that a failure here is rare, but it is an error like any other.
fn parse_dispatch_options(agent: &Agent, record: &Bytes, body: RequestBody) -> Result<DispatchOptions, CoreError> {
    let text = record
        .get(WORDS * WORD_BYTES..WORDS * WORD_BYTES + word(record, 3) as usize)
        .ok_or_else(|| invalid("record"))?;
    let mut parts = text.split(|&byte| byte == 0);
    let mut part = |name: &str| parts.next().ok_or_else(|| invalid(name));
    let origin = std::str::from_utf8(part("origin")?)
        .ok()
        .and_then(Origin::parse)
        .ok_or_else(|| invalid("origin"))?;
    let method = Method::from_bytes(part("method")?).map_err(|_| invalid("request method"))?;
    let target: String = part("path")?.iter().copied().map(char::from).collect();
    let mut options = DispatchOptions::new(origin, method, target);
    options.headers = parse_headers(parts)?;
    options.body = body;
    let config = agent.config();
    options.headers_timeout = limit(word(record, 6), config.headers_timeout);
    options.body_timeout = limit(word(record, 7), config.body_timeout);
    options.timeout = limit(word(record, 8), config.timeout);
    options.max_header_size = config.max_header_size;
    options.max_response_size = match word(record, 10) {
        INHERIT => config.max_response_size,
        size => Some(u64::from(size)),
    };
    Ok(options)
}

fn parse_headers<'a>(mut parts: impl Iterator<Item = &'a [u8]>) -> Result<HeaderMap, CoreError> {
    let mut headers = HeaderMap::new();
    while let Some(name) = parts.next() {
        if name.is_empty() {
            break;
        }
        let parsed = HeaderName::from_bytes(name).map_err(|_| invalid("header key"))?;
        let value = parts.next().ok_or_else(|| invalid("headers"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| invalid(&format!("{} header", String::from_utf8_lossy(name))))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

fn invalid(what: &str) -> CoreError {
    CoreError::InvalidArgument(format!("invalid {what}"))
}

fn limit(milliseconds: u32, inherited: Option<Duration>) -> Option<Duration> {
    match milliseconds {
        INHERIT => inherited,
        0 => None,
        milliseconds => Some(Duration::from_millis(milliseconds.into())),
    }
}

/// `agentDispatch(agent, batch, length, bodies)`
pub fn dispatch(mut cx: FunctionContext) -> JsResult<JsUndefined> {
    let agent = id_argument(&mut cx)?;
    let batch = cx.argument::<JsUint8Array>(1)?;
    let length = cx.argument::<JsNumber>(2)?.value(&mut cx);
    let bodies = cx.argument::<JsArray>(3)?;
    let environment = Environment::get(&mut cx)?;
    let Some(agent) = environment.agent(agent) else {
        return cx.throw_error("the agent is closed");
    };
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as casts saturate"
    )]
    let length = length as usize;
    let Some(bytes) = batch.as_slice(&cx).get(..length).map(Bytes::copy_from_slice) else {
        return cx.throw_range_error("the batch is shorter than its length");
    };
    let mut submissions = Vec::new();
    let mut bodies_taken = 0;
    let mut rest = bytes;
    while rest.len() >= WORDS * WORD_BYTES {
        let record = rest.split_to((word(&rest, 0) as usize * WORD_BYTES).clamp(WORDS * WORD_BYTES, rest.len()));
        let apart = if word(&record, 2) & FLAG_BODY_APART != 0 {
            let chunk: Handle<JsUint8Array> = bodies.prop(&mut cx, bodies_taken).get()?;
            bodies_taken += 1;
            Some(Bytes::copy_from_slice(chunk.as_slice(&cx)))
        } else {
            None
        };
        let (submission, handle) = prepare(environment, &agent, record, apart);
        environment.insert(&mut cx, submission.exchange.id, handle);
        submissions.push(submission);
    }
    runtime.submit(submissions);
    Ok(cx.undefined())
}

fn prepare(
    environment: &Environment,
    agent: &Agent,
    record: Bytes,
    apart: Option<Bytes>,
) -> (Submission, RequestHandleInstance) {
    let (id, flags) = (word(&record, 1), word(&record, 2));
    let controller = RequestController::new();
    let window = match word(&record, 9) {
        INHERIT => agent.config().window,
        bytes => bytes as usize,
    };
    let exchange = Arc::new(Exchange {
        id,
        completions: Arc::clone(&environment.completions),
        queue: BodyQueue::new(window, Arc::clone(controller.pause_state()), Arc::clone(agent.gauge())),
        gauge: Arc::clone(agent.gauge()),
        controller,
        has_head: AtomicBool::new(false),
    });
    let mut upload = None;
    let body = if let Some(bytes) = apart {
        RequestBody::Bytes(bytes)
    } else if flags & FLAG_BODY_INLINE != 0 {
        let start = (WORDS * WORD_BYTES + word(&record, 3) as usize).min(record.len());
        let end = (start + word(&record, 4) as usize).min(record.len());
        RequestBody::Bytes(record.slice(start..end))
    } else if flags & FLAG_BODY_STREAM != 0 {
        let completions = Arc::clone(&environment.completions);
        let on_credit = Box::new(move || completions.upload_ready(id));
        let queue = Arc::new(UploadQueue::new(
            agent.config().upload_window,
            Arc::clone(agent.gauge()),
            on_credit,
        ));
        upload = Some(Arc::clone(&queue));
        let length = u64::from(word(&record, 4)) | u64::from(word(&record, 5)) << 32;
        RequestBody::Stream {
            queue,
            length: (flags & FLAG_BODY_LENGTH != 0).then_some(length),
        }
    } else {
        RequestBody::Empty
    };
    let handle = RequestHandleInstance {
        exchange: Arc::clone(&exchange),
        is_uploading: Cell::new(upload.is_some()),
        upload,
        awaits: Cell::new(false),
        is_dispatched: flags & FLAG_DISPATCHED != 0,
        is_awaited: Cell::new(false),
        pipe: RefCell::new(None),
        is_aborted: Cell::new(false),
    };
    (
        Submission {
            agent: agent.clone(),
            exchange,
            record,
            body,
        },
        handle,
    )
}
