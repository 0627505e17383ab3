//! Agents, which JavaScript holds by their ids: to look into a box, Neon asks the engine for its tag, which a worker that
//! is being terminated refuses, and Neon panics.

use std::time::Duration;

use neon::prelude::*;
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, AgentConfig, TlsOptions};

use crate::environment::Environment;
use crate::marshal::error_text;
use crate::request_handle::id_argument;
use crate::runtime::Runtime;

/// `agentCreate(config)`
pub fn create(mut cx: FunctionContext) -> JsResult<JsNumber> {
    let object = cx.argument::<JsObject>(0)?;
    let config = parse_config(&mut cx, object)?;
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    match Agent::new(config, runtime.handle().clone()) {
        Ok(agent) => {
            let id = Environment::get(&mut cx)?.insert_agent(agent);
            Ok(cx.number(id))
        }
        Err(error) => cx.throw_error(error_text(&error, "connect")),
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
    if let Some(bytes) = number("maxHeaderSize")? {
        config.max_header_size = bytes_of(bytes);
    }
    if let Some(bytes) = number("maxResponseSize")? {
        config.max_response_size = (bytes >= 0.0).then_some(bytes_of(bytes) as u64);
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
    limit("keepAliveTimeout", &mut config.transport.keep_alive_timeout)?;
    if let Some(allow) = object.prop(cx, "allowH2").get::<Option<bool>>()? {
        config.transport.allow_http2 = allow;
    }
    if let Some(prior) = object.prop(cx, "http2PriorKnowledge").get::<Option<bool>>()? {
        config.transport.http2_prior_knowledge = prior;
    }
    if object.prop(cx, "transport").get::<Option<String>>()?.as_deref() == Some("wire") {
        config.engine = EngineKind::Wire;
    }
    config.transport.tls = TlsOptions {
        ca: object.prop(cx, "ca").get::<Option<String>>()?,
        accept_invalid: object.prop(cx, "rejectUnauthorized").get::<Option<bool>>()? == Some(false),
    };
    Ok(config)
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
pub fn close(mut cx: FunctionContext) -> JsResult<JsUndefined> {
    let id = id_argument(&mut cx)?;
    Environment::get(&mut cx)?.remove_agent(id);
    Ok(cx.undefined())
}

/// `agentDestroy(agent)`: running requests end with `ClientDestroyedError`.
pub fn destroy(mut cx: FunctionContext) -> JsResult<JsUndefined> {
    let id = id_argument(&mut cx)?;
    if let Some(agent) = Environment::get(&mut cx)?.remove_agent(id) {
        agent.destroy();
    }
    Ok(cx.undefined())
}

/// `agentStats(agent)`
pub fn stats(mut cx: FunctionContext) -> JsResult<JsObject> {
    let id = id_argument(&mut cx)?;
    let agent = Environment::get(&mut cx)?.agent(id);
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
