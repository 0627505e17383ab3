//! Agents, which JavaScript holds by their ids: to look into a box, Neon asks the engine for its tag, which a worker that
//! is being terminated refuses, and Neon panics.

use std::sync::Arc;
use std::time::Duration;

use neon::prelude::*;
use sluice_core::transport::{EngineKind, SocketOptions, TransportConfig};
use sluice_core::{
    AddressPolicy, Agent, AgentConfig, ClientIdentity, CoreError, Embedder, IpNet, ProxyRules, ProxySetting, ProxyUrls,
    TlsOptions, TlsVersions,
};

use crate::completions::AgentObserver;
use crate::environment::Environment;
use crate::marshal::error_text;
use crate::questions::AgentEmbedder;
use crate::request_handle::id_argument;
use crate::runtime::Runtime;

/// `agentCreate(config)`
pub fn create<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsNumber> {
    let object = cx.argument::<JsObject>(0)?;
    let mut config = parse_config(&mut cx, object)?;
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    let id = environment.next_agent();
    config.transport.observer = Some(Arc::new(AgentObserver {
        agent: id,
        completions: Arc::clone(&environment.completions),
    }));
    let embedder: Arc<dyn Embedder> = Arc::new(AgentEmbedder {
        agent: id,
        completions: Arc::clone(&environment.completions),
    });
    config.transport.tls.embedder = Some(Arc::clone(&embedder));
    parse_network(&mut cx, object, &embedder, &mut config.transport)?;
    match Agent::new(config, runtime.handle().clone()) {
        Ok(agent) => {
            environment.insert_agent(id, agent);
            Ok(cx.number(id))
        }
        Err(error) => cx.throw_error(error_text(&error, "connect", None)),
    }
}

fn parse_config<'cx>(cx: &mut FunctionContext<'cx>, object: Handle<'cx, JsObject>) -> NeonResult<AgentConfig> {
    let mut config = AgentConfig::default();
    let mut number = |name: &str| -> NeonResult<Option<f64>> { object.prop(cx, name).get::<Option<f64>>() };
    if let Some(bytes) = number("windowBytes")? {
        config.window = bytes_of(bytes);
    }
    if let Some(bytes) = number("uploadWindowBytes")? {
        config.upload_window = bytes_of(bytes);
    }
    if let Some(bytes) = number("maxBufferedBytes")? {
        config.max_buffered = bytes_of(bytes);
    }
    if let Some(bytes) = number("maxHeaderSize")? {
        config.max_header_size = bytes_of(bytes);
    }
    if let Some(bytes) = number("maxResponseSize")? {
        config.max_response_size = (bytes >= 0.0).then_some(bytes_of(bytes) as u64);
    }
    if let Some(bytes) = number("maxDecodedSize")? {
        config.max_decoded_size = (bytes >= 0.0).then_some(bytes_of(bytes) as u64);
    }
    if let Some(ratio) = number("maxCompressionRatio")? {
        config.max_compression_ratio = (ratio > 0.0).then_some(ratio);
    }
    let mut limit = |name: &str, target: &mut Option<Duration>| -> NeonResult<()> {
        if let Some(milliseconds) = number(name)? {
            *target = duration(milliseconds);
        }
        Ok(())
    };
    limit("headersTimeout", &mut config.headers_timeout)?;
    limit("bodyTimeout", &mut config.body_timeout)?;
    limit("timeout", &mut config.timeout)?;
    limit("connectTimeout", &mut config.transport.connect_timeout)?;
    limit("keepAliveTimeout", &mut config.transport.keep_alive.timeout)?;
    limit("clientTtl", &mut config.transport.connection_ttl)?;
    limit("http2PingInterval", &mut config.transport.http2_ping_interval)?;
    let mut time = |name: &str, target: &mut Duration| -> NeonResult<()> {
        if let Some(milliseconds) = number(name)? {
            *target = duration(milliseconds).unwrap_or_default();
        }
        Ok(())
    };
    time("keepAliveMaxTimeout", &mut config.transport.keep_alive.max_timeout)?;
    time("keepAliveTimeoutThreshold", &mut config.transport.keep_alive.threshold)?;
    time(
        "autoSelectFamilyAttemptTimeout",
        &mut config.transport.socket.attempt_delay,
    )?;
    if let Some(count) = number("connections")? {
        config.transport.connections = (count > 0.0).then_some(bytes_of(count));
    }
    if let Some(count) = number("maxRequestsPerClient")? {
        config.transport.max_requests_per_connection = (count > 0.0).then_some(bytes_of(count) as u64);
    }
    if let Some(count) = number("maxConcurrentStreams")? {
        config.transport.http2_max_streams = bytes_of(count).max(1);
    }
    if let Some(bytes) = number("http2StreamWindow")? {
        config.transport.http2_stream_window = window_of(bytes);
    }
    if let Some(bytes) = number("http2ConnectionWindow")? {
        config.transport.http2_connection_window = Some(window_of(bytes));
    }
    let keep_alive_delay = number("tcpKeepAliveInitialDelay")?;
    parse_socket(cx, object, keep_alive_delay, &mut config.transport.socket)?;
    if let Some(allow) = object.prop(cx, "allowH2").get::<Option<bool>>()? {
        config.transport.allow_http2 = allow;
    }
    if let Some(prefers) = object.prop(cx, "preferH2").get::<Option<bool>>()? {
        config.transport.prefer_http2 = prefers;
    }
    if let Some(prior) = object.prop(cx, "http2PriorKnowledge").get::<Option<bool>>()? {
        config.transport.http2_prior_knowledge = prior;
    }
    if object.prop(cx, "transport").get::<Option<String>>()?.as_deref() == Some("wire") {
        config.engine = EngineKind::Wire;
    }
    config.servername = object.prop(cx, "servername").get::<Option<String>>()?;
    parse_tls(cx, object, &mut config.transport)?;
    Ok(config)
}

fn parse_tls<'cx>(
    cx: &mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
    transport: &mut TransportConfig,
) -> NeonResult<()> {
    let identities = strings(cx, object, "identities")?.unwrap_or_default();
    let is_version = |text: Option<String>, version: &str| text.as_deref() == Some(version);
    let min_is_13 = is_version(object.prop(cx, "minVersion").get::<Option<String>>()?, "TLSv1.3");
    let max_is_12 = is_version(object.prop(cx, "maxVersion").get::<Option<String>>()?, "TLSv1.2");
    transport.tls = TlsOptions {
        ca: object.prop(cx, "ca").get::<Option<String>>()?,
        asks_extra_ca: object.prop(cx, "asksExtraCa").get::<Option<bool>>()? == Some(true),
        identities: identities
            .chunks_exact(2)
            .map(|pair| ClientIdentity {
                chain: pair[0].clone(),
                key: pair[1].clone(),
            })
            .collect(),
        accept_invalid: object.prop(cx, "rejectUnauthorized").get::<Option<bool>>()? == Some(false),
        versions: match (min_is_13, max_is_12) {
            (true, _) => TlsVersions::Only13,
            (false, true) => TlsVersions::Only12,
            (false, false) => TlsVersions::From12,
        },
        embedder: None,
    };
    transport.alpn = strings(cx, object, "alpn")?.map(|names| {
        let known = |name: &String| -> &'static [u8] { if name == "h2" { b"h2" } else { b"http/1.1" } };
        names.iter().map(known).collect()
    });
    Ok(())
}

/// Proxies, names and addresses.
fn parse_network<'cx>(
    cx: &mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
    embedder: &Arc<dyn Embedder>,
    transport: &mut TransportConfig,
) -> NeonResult<()> {
    let named = |name: &String, value: &String| ProxySetting {
        name: name.clone(),
        value: value.clone(),
    };
    if let Some([all_name, all, http_name, http, https_name, https, none]) = strings(cx, object, "proxies")?.as_deref()
    {
        let urls = ProxyUrls {
            all: named(all_name, all),
            http: named(http_name, http),
            https: named(https_name, https),
            none: none.clone(),
            or_system: object.prop(cx, "proxyOfSystem").get::<Option<bool>>()? == Some(true),
        };
        transport.proxies = match ProxyRules::new(urls) {
            Ok(rules) => Some(rules),
            Err(error) => return cx.throw_error(error_text(&error, "connect", None)),
        };
    }
    if let Some(rules) = transport.proxies.take() {
        let authorization = object.prop(cx, "proxyAuthorization").get::<Option<String>>()?;
        let headers = strings(cx, object, "proxyHeaders")?.unwrap_or_default();
        let pairs = headers.chunks_exact(2);
        let headers = pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        transport.proxies = Some(rules.telling(authorization, headers));
    }
    if let Some(milliseconds) = object.prop(cx, "dnsCacheTimeout").get::<Option<f64>>()? {
        transport.dns.cache = duration(milliseconds).unwrap_or_default();
    }
    if object.prop(cx, "asksLookup").get::<Option<bool>>()? == Some(true) {
        transport.dns.lookup = Some(Arc::clone(embedder));
    }
    for host in strings(cx, object, "resolve")?.unwrap_or_default() {
        let mut words = host.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let addresses = words.filter_map(|word| word.parse().ok()).collect();
        transport.dns.hosts.insert(name, addresses);
    }
    let allow = strings(cx, object, "allowNetworks")?;
    let deny = strings(cx, object, "denyNetworks")?;
    if object.prop(cx, "asksAddress").get::<Option<bool>>()? == Some(true) {
        transport.dns.policy = AddressPolicy::Ask(Arc::clone(embedder));
    } else if allow.is_some() || deny.is_some() {
        transport.dns.policy = AddressPolicy::Networks {
            allow: networks(cx, &allow.unwrap_or_default(), "allow")?,
            deny: networks(cx, &deny.unwrap_or_default(), "deny")?,
        };
    }
    Ok(())
}

fn networks(cx: &mut FunctionContext<'_>, list: &[String], name: &str) -> NeonResult<Vec<IpNet>> {
    let mut parsed = Vec::new();
    for text in list {
        match AddressPolicy::parse_network(text) {
            Some(network) => parsed.push(network),
            None => return invalid(cx, &format!("allowAddress.{name}: {text} is no address and no network")),
        }
    }
    Ok(parsed)
}

fn strings<'cx>(
    cx: &mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
    name: &str,
) -> NeonResult<Option<Vec<String>>> {
    let Some(array) = object.prop(cx, name).get::<Option<Handle<JsArray>>>()? else {
        return Ok(None);
    };
    let mut list = Vec::new();
    for index in 0..array.len(cx) {
        list.push(array.prop(cx, index).get::<String>()?);
    }
    Ok(Some(list))
}

fn parse_socket<'cx>(
    cx: &mut FunctionContext<'cx>,
    object: Handle<'cx, JsObject>,
    keep_alive_delay: Option<f64>,
    socket: &mut SocketOptions,
) -> NeonResult<()> {
    if let Some(address) = object.prop(cx, "localAddress").get::<Option<String>>()? {
        match address.parse() {
            Ok(address) => socket.local_address = Some(address),
            Err(_) => return invalid(cx, "localAddress must be an IP address"),
        }
    }
    socket.socket_path = object.prop(cx, "socketPath").get::<Option<String>>()?.map(Into::into);
    if let Some(selects) = object.prop(cx, "autoSelectFamily").get::<Option<bool>>()? {
        socket.auto_select_family = selects;
    }
    if let Some(milliseconds) = keep_alive_delay {
        socket.keep_alive = duration(milliseconds);
    }
    if object.prop(cx, "tcpKeepAlive").get::<Option<bool>>()? == Some(false) {
        socket.keep_alive = None;
    }
    Ok(())
}

fn invalid<T>(cx: &mut FunctionContext<'_>, text: &str) -> NeonResult<T> {
    cx.throw_error(error_text(&CoreError::InvalidArgument(text.into()), "connect", None))
}

/// HTTP/2 allows 2^31 - 1 (RFC 9113 §6.9.1).
fn window_of(number: f64) -> u32 {
    u32::try_from(bytes_of(number)).unwrap_or(u32::MAX).min(0x7fff_ffff)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as casts saturate"
)]
fn bytes_of(number: f64) -> usize {
    number as usize
}

/// Milliseconds; 0 is no limit.
pub fn duration(milliseconds: f64) -> Option<Duration> {
    (milliseconds > 0.0)
        .then(|| Duration::try_from_secs_f64(milliseconds / 1000.0).ok())
        .flatten()
}

/// `agentClose(agent)`: JavaScript accepts no further request for it. Dropping the core agent closes its idle
/// connections when its requests have ended.
pub fn close<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    environment.remove_agent(id);
    Ok(cx.undefined())
}

/// `agentDestroy(agent)`: running requests end with `ClientDestroyedError`.
pub fn destroy<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    if let Some(agent) = environment.remove_agent(id) {
        agent.destroy();
    }
    Ok(cx.undefined())
}

/// `agentStats(agent)`
pub fn stats<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsObject> {
    let id = id_argument(&mut cx)?;
    let agent = environment.agent(id);
    let (held, running) = agent.map_or((0, 0), |agent| (agent.gauge().held(), agent.running()));
    let object = cx.empty_object();
    #[expect(clippy::cast_precision_loss, reason = "JavaScript numbers")]
    object
        .prop(&mut cx, "bufferedBytes")
        .set(held as f64)?
        .prop("running")
        .set(running as f64)?;
    Ok(object)
}
