//! What JavaScript asks where requests wait for connections that unread responses hold.

use std::sync::atomic::Ordering;

use neon::prelude::*;

use crate::environment::Environment;
use crate::request_handle::{RequestHandleInstance, id_argument};

/// `unreadResponses(pool)`: the responses on the pool's connections that nobody has read since the last look.
pub fn unread_responses<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsNumber> {
    let pool = id_argument(&mut cx)?;
    let is_unread =
        |request: &RequestHandleInstance| request.exchange.pool.load(Ordering::Relaxed) == pool && request.look();
    let count = environment.count(is_unread);
    Ok(cx.number(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// `externalMemoryPress(bytes)`: V8 takes so much for held outside, beside what responses hold.
pub fn press<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let bytes = cx.argument::<JsNumber>(0)?.value(&mut cx);
    #[expect(clippy::cast_possible_truncation, reason = "as casts saturate")]
    environment.external_memory.press(bytes as i64);
    Ok(cx.undefined())
}
