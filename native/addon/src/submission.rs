//! A batch of requests on its way from JavaScript to the runtime.
//!
//! A record is little-endian words, then text: origin, method, target, server name, upgrade, host, and header names and
//! values, each ended by NUL but the last, in latin1; then a small body. `streams/exchange.ts` encodes it. JavaScript's thread only cuts the
//! batch into records; the runtime's thread reads them.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use neon::prelude::*;
use neon::types::JsUint8Array;
use neon::types::buffer::TypedArray;
use sluice_core::{
    Agent, AgentConfig, BodyQueue, ByteGauge, CoreError, DispatchHandler, DispatchOptions, FetchOptions, FileBody,
    HeaderList, Method, Origin, RedirectPolicy, RequestBody, RequestController, UploadQueue,
};

use crate::environment::{Environment, word};
use crate::handler::{Exchange, GoAhead, JsDispatchHandler};
use crate::pipe::{duplicate, file_error};
use crate::request_handle::{Reading, RequestHandleInstance, id_argument};
use crate::runtime::Runtime;

/// Words of a record before its text.
const WORDS: usize = 18;
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
/// Waits for the go-ahead once there is a connection.
const FLAG_ASK: u32 = 1 << 5;
const FLAG_CLOSE: u32 = 1 << 6;
const FLAG_NO_REUSE: u32 = 1 << 7;
const FLAG_HTTP1: u32 = 1 << 8;
const FLAG_EXPECT_CONTINUE: u32 = 1 << 9;
/// An upgrade or CONNECT: what is written by chunks belongs to the tunnel.
const FLAG_TUNNEL: u32 = 1 << 10;

/// Redirects are followed.
const FLAG_FOLLOW: u32 = 1 << 11;
/// A redirect is an error.
const FLAG_NO_REDIRECT: u32 = 1 << 12;
/// Content codings are undone. Set for `fetch` alone.
const FLAG_DECODE: u32 = 1 << 13;
/// The body is a file: descriptor, and where in it the body begins, in three words behind the text.
const FLAG_BODY_FILE: u32 = 1 << 14;
/// The body stays with JavaScript, which hands it over by `uploadFrom`.
const FLAG_BODY_KEPT: u32 = 1 << 15;

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
    body: Result<RequestBody, CoreError>,
    tunnel: Option<Arc<UploadQueue>>,
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
        let exchange = Arc::clone(&self.exchange);
        // Once it runs, core catches what panics.
        let begun = catch_unwind(AssertUnwindSafe(|| self.execution()));
        match begun.unwrap_or_else(|_| Err(CoreError::Internal("the request could not be read".into()))) {
            Ok(execution) => execution.await,
            Err(error) => JsDispatchHandler::new(exchange, None).on_response_error(error).await,
        }
    }

    /// Boxed here: the task, which moves, would hold it twice.
    fn execution(self) -> Result<Pin<Box<impl Future<Output = ()> + Send>>, CoreError> {
        let mut options = parse_dispatch_options(self.agent.config(), &self.record, self.body?)?;
        options.tunnel = self.tunnel;
        let controller = self.exchange.controller.clone();
        let handler = JsDispatchHandler::new(self.exchange, Some(options.origin.clone()));
        Ok(Box::pin(self.agent.execute(options, controller, handler)))
    }
}

/// Reads a record; JavaScript has validated it, so that a failure here is rare, but it is an error like any other.
fn parse_dispatch_options(
    config: &AgentConfig,
    record: &Bytes,
    body: RequestBody,
) -> Result<DispatchOptions, CoreError> {
    let start = WORDS * WORD_BYTES;
    let text = record
        .get(start..start.saturating_add(word(record, 3) as usize))
        .ok_or_else(|| invalid("record"))?;
    let mut parts = text.split(|&byte| byte == 0);
    let mut part = |name: &str| parts.next().ok_or_else(|| invalid(name));
    let origin = std::str::from_utf8(part("origin")?)
        .ok()
        .and_then(Origin::parse)
        .ok_or_else(|| invalid("origin"))?;
    let method = Method::from_bytes(part("method")?).map_err(|_| invalid("request method"))?;
    let target = latin1(part("path")?);
    let mut options = DispatchOptions::new(origin, method, target);
    let servername = some(latin1(part("servername")?));
    options.servername = servername.or_else(|| config.servername.clone());
    options.upgrade = some(latin1(part("upgrade")?));
    let host = part("host")?;
    options.host = some(latin1(host));
    // The headers are the rest of the text, as core takes them.
    let end = host.as_ptr_range().end.addr() - text.as_ptr().addr();
    options.headers = HeaderList::from_text(text.get(end + 1..).unwrap_or_default().to_vec());
    options.body = body;
    let flags = word(record, 2);
    options.closes = flags & FLAG_CLOSE != 0;
    options.is_last = flags & FLAG_NO_REUSE != 0;
    options.http1_only = flags & FLAG_HTTP1 != 0;
    options.expects_continue = flags & FLAG_EXPECT_CONTINUE != 0;
    options.connect_timeout = match word(record, 11) {
        INHERIT => None,
        0 => Some(Duration::MAX),
        milliseconds => Some(Duration::from_millis(milliseconds.into())),
    };
    options.headers_timeout = limit(word(record, 6), config.headers_timeout);
    options.body_timeout = limit(word(record, 7), config.body_timeout);
    options.timeout = limit(word(record, 8), config.timeout);
    options.max_header_size = size(word(record, 10), config.max_header_size);
    options.fetch = (flags & FLAG_DECODE != 0).then(|| fetch_options(record, flags, config));
    options.max_response_size = large(record, 15, config.max_response_size);
    Ok(options)
}

fn fetch_options(record: &[u8], flags: u32, config: &AgentConfig) -> FetchOptions {
    FetchOptions {
        redirect: match flags & (FLAG_FOLLOW | FLAG_NO_REDIRECT) {
            0 => RedirectPolicy::Manual,
            FLAG_FOLLOW => RedirectPolicy::Follow,
            _ => RedirectPolicy::Error,
        },
        decodes: true,
        max_decoded_size: large(record, 12, config.max_decoded_size),
        max_compression_ratio: match word(record, 14) {
            INHERIT => config.max_compression_ratio,
            0 => None,
            thousandths => Some(f64::from(thousandths) / 1000.0),
        },
    }
}

fn latin1(bytes: &[u8]) -> String {
    if bytes.is_ascii()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return text.to_owned();
    }
    bytes.iter().copied().map(char::from).collect()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
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

fn size(bytes: u32, inherited: usize) -> usize {
    match bytes {
        INHERIT => inherited,
        bytes => bytes as usize,
    }
}

/// A limit of two words.
fn large(record: &[u8], index: usize, inherited: Option<u64>) -> Option<u64> {
    match (word(record, index), word(record, index + 1)) {
        (INHERIT, INHERIT) => inherited,
        _ => Some(wide(record, index)),
    }
}

/// `agentDispatch(agent, batch, length, bodies)`
pub fn dispatch<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let agent = id_argument(&mut cx)?;
    let batch = cx.argument::<JsUint8Array>(1)?;
    let length = cx.argument::<JsNumber>(2)?.value(&mut cx);
    let bodies = cx.argument::<JsArray>(3)?;
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
    while let Some(record) = next_record(&mut rest) {
        let apart = if word(&record, 2) & FLAG_BODY_APART != 0 {
            // What is no body fails this request, and none of the others.
            let chunk = cx.try_catch(|cx| bodies.prop(cx, bodies_taken).get::<Handle<JsUint8Array>>());
            bodies_taken += 1;
            Some(match chunk {
                Ok(chunk) => Ok(Bytes::copy_from_slice(chunk.as_slice(&cx))),
                Err(_) => Err(invalid("body")),
            })
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

/// Cuts the next record off. What is too short to be one is left.
fn next_record(rest: &mut Bytes) -> Option<Bytes> {
    let least = WORDS * WORD_BYTES;
    if rest.len() < least {
        return None;
    }
    let size = (word(rest, 0) as usize).saturating_mul(WORD_BYTES);
    Some(rest.split_to(size.clamp(least, rest.len())))
}

/// The body that follows the text.
fn inline_body(record: &Bytes) -> Bytes {
    let start = (WORDS * WORD_BYTES)
        .saturating_add(word(record, 3) as usize)
        .min(record.len());
    let end = start.saturating_add(word(record, 4) as usize).min(record.len());
    record.slice(start..end)
}

fn prepare(
    environment: &Environment,
    agent: &Agent,
    record: Bytes,
    apart: Option<Result<Bytes, CoreError>>,
) -> (Submission, RequestHandleInstance) {
    let (id, flags) = (word(&record, 1), word(&record, 2));
    let controller = RequestController::new();
    let window = size(word(&record, 9), agent.config().window);
    let upload_window = size(word(&record, 17), agent.config().upload_window);
    let exchange = Arc::new(Exchange {
        id,
        completions: Arc::clone(&environment.completions),
        queue: BodyQueue::new(window, Arc::clone(controller.pause_state()), Arc::clone(agent.gauge())),
        gauge: Arc::clone(agent.gauge()),
        controller,
        has_head: AtomicBool::new(false),
        go_ahead: GoAhead::new(flags & FLAG_ASK != 0),
        failed: Mutex::default(),
        pool: AtomicU32::new(0),
    });
    let mut upload = None;
    let upload_queue = |kept: Option<usize>| {
        let completions = Arc::clone(&environment.completions);
        let gauge = Arc::clone(agent.gauge());
        let on_credit = Box::new(move || completions.upload_ready(id));
        Arc::new(match kept {
            None => UploadQueue::new(upload_window, gauge, on_credit),
            Some(length) => UploadQueue::kept(upload_window, gauge, on_credit, length),
        })
    };
    let tunnel = (flags & FLAG_TUNNEL != 0).then(|| upload_queue(None));
    let body = if flags & FLAG_BODY_FILE != 0 {
        file_body(&record, agent.gauge()).map(RequestBody::File)
    } else if let Some(bytes) = apart {
        bytes.map(RequestBody::Bytes)
    } else if flags & FLAG_BODY_INLINE != 0 {
        Ok(RequestBody::Bytes(inline_body(&record)))
    } else if flags & (FLAG_BODY_STREAM | FLAG_BODY_KEPT) != 0 {
        let is_kept = flags & FLAG_BODY_KEPT != 0;
        let length = (is_kept || flags & FLAG_BODY_LENGTH != 0).then(|| wide(&record, 4));
        let kept = length.filter(|_| is_kept);
        let queue = upload_queue(kept.map(|length| usize::try_from(length).unwrap_or(usize::MAX)));
        upload = Some(Arc::clone(&queue));
        Ok(RequestBody::Stream { queue, length })
    } else {
        Ok(RequestBody::Empty)
    };
    let handle = RequestHandleInstance {
        exchange: Arc::clone(&exchange),
        is_uploading: Cell::new(upload.is_some()),
        upload: upload.or_else(|| tunnel.clone()),
        awaits: Cell::new(false),
        is_dispatched: flags & FLAG_DISPATCHED != 0,
        is_awaited: Cell::new(false),
        pipe: RefCell::new(None),
        watch: RefCell::new(None),
        is_aborted: Cell::new(false),
        reading: Cell::new(Reading::NoHead),
    };
    (
        Submission {
            agent: agent.clone(),
            exchange,
            record,
            body,
            tunnel,
        },
        handle,
    )
}

/// JavaScript keeps its descriptor; this is another one of the same file.
fn file_body(record: &[u8], gauge: &Arc<ByteGauge>) -> Result<FileBody, CoreError> {
    let at = (WORDS * WORD_BYTES)
        .saturating_add(word(record, 3) as usize)
        .min(record.len());
    let words = record.get(at..at + 3 * WORD_BYTES).ok_or_else(|| invalid("record"))?;
    #[expect(clippy::cast_possible_wrap, reason = "descriptors are small")]
    let file = duplicate(word(words, 0) as i32).map_err(|error| file_error(&error, "dup"))?;
    Ok(FileBody {
        file: Arc::new(file),
        start: wide(words, 1),
        length: wide(record, 4),
        gauge: Arc::clone(gauge),
    })
}

fn wide(bytes: &[u8], index: usize) -> u64 {
    u64::from(word(bytes, index)) | u64::from(word(bytes, index + 1)) << 32
}

/// What is read of each record of a batch, for the tests of the encoding: an error's text alone, or the fields in order,
/// and behind them the header names and values.
#[cfg(debug_assertions)]
pub fn describe_batch(mut batch: Bytes) -> Vec<Vec<String>> {
    let config = AgentConfig::default();
    let mut described = Vec::new();
    while let Some(record) = next_record(&mut batch) {
        let body = inline_body(&record);
        described.push(
            match parse_dispatch_options(&config, &record, RequestBody::Bytes(body)) {
                Ok(options) => describe(&record, &options),
                Err(error) => vec![error.to_string()],
            },
        );
    }
    described
}

#[cfg(debug_assertions)]
fn describe(record: &[u8], options: &DispatchOptions) -> Vec<String> {
    let milliseconds = |limit: Option<Duration>| match limit {
        None => "-1".to_owned(),
        Some(Duration::MAX) => "off".to_owned(),
        Some(limit) => limit.as_millis().to_string(),
    };
    let bytes = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
    let fetch = options.fetch.as_ref();
    let body = match &options.body {
        RequestBody::Bytes(bytes) => latin1(bytes),
        _ => String::new(),
    };
    let mut fields = vec![
        word(record, 1).to_string(),
        options.origin.as_str().to_owned(),
        options.method.to_string(),
        options.target.clone(),
        options.servername.clone().unwrap_or_default(),
        options.upgrade.clone().unwrap_or_default(),
        options.host.clone().unwrap_or_default(),
        body,
        [
            options.closes,
            options.is_last,
            options.http1_only,
            options.expects_continue,
        ]
        .map(|flag| if flag { '1' } else { '0' })
        .iter()
        .collect(),
        milliseconds(options.connect_timeout),
        milliseconds(options.headers_timeout),
        milliseconds(options.body_timeout),
        milliseconds(options.timeout),
        bytes(options.max_response_size),
        options.max_header_size.to_string(),
        fetch.map_or_else(String::new, |fetch| format!("{:?}", fetch.redirect)),
        bytes(fetch.and_then(|fetch| fetch.max_decoded_size)),
        fetch
            .and_then(|fetch| fetch.max_compression_ratio)
            .unwrap_or(-1.0)
            .to_string(),
    ];
    for (name, value) in options.headers.iter() {
        fields.extend([latin1(name), latin1(value)]);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift: the same bytes for the same seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: usize) -> usize {
            usize::try_from(self.next()).unwrap_or(usize::MAX) % limit
        }
    }

    fn record(text: &[u8], body: &[u8]) -> Vec<u8> {
        let mut words = [0_u32; WORDS];
        words[2] = FLAG_BODY_INLINE;
        words[3] = u32::try_from(text.len()).unwrap();
        words[4] = u32::try_from(body.len()).unwrap();
        let size = (WORDS * WORD_BYTES + text.len() + body.len()).next_multiple_of(WORD_BYTES);
        words[0] = u32::try_from(size / WORD_BYTES).unwrap();
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(body);
        bytes.resize(size, 0);
        bytes
    }

    const TEXT: &[u8] = b"http://a.test\0GET\0/\xe9\0\0\0\0x-a\x001";

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let batch = [record(TEXT, b"body"), record(TEXT, b"")].concat();
        let described = describe_batch(batch.into());
        assert_eq!(described.len(), 2);
        assert_eq!(described[0][1..4], ["http://a.test", "GET", "/\u{e9}"]);
        assert_eq!(described[0][7], "body");
        assert_eq!(described[0][18..], ["x-a", "1"]);
    }

    #[test]
    fn any_bytes_are_read_as_requests_or_refused() {
        for seed in 1..20_000 {
            let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let mut batch = [record(TEXT, b"body"), record(TEXT, b"")].concat();
            for _ in 0..=random.below(8) {
                let at = random.below(batch.len());
                match random.below(4) {
                    0 => batch.truncate(at.max(1)),
                    1 => batch[at] = 0xff,
                    2 => batch[at / WORD_BYTES * WORD_BYTES..][..1].fill(0),
                    _ => batch[at] = random.next().to_le_bytes()[0],
                }
            }
            let length = batch.len();
            let described = describe_batch(batch.into());
            assert!(described.len() <= length / (WORDS * WORD_BYTES), "seed {seed}");
        }
    }

    #[test]
    fn a_file_of_a_cut_record_is_refused() {
        let gauge = Arc::new(ByteGauge::new(1));
        let cut = record(b"", b"");
        assert!(matches!(file_body(&cut, &gauge), Err(CoreError::InvalidArgument(_))));
    }
}
