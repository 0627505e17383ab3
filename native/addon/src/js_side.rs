//! What the addon has of one copy's JavaScript: its buffers, and the function that takes completions.
//!
//! Held weakly: a copy whose module nobody can reach (a test suite evaluates modules anew for every file) is collected
//! with all it has. While a request is awaited the function is held, and with it its module.

use std::cell::Cell;

use neon::prelude::*;
use neon::sys::bindings::{
    Env, Ref, create_reference, delete_reference, get_reference_value, reference_ref, reference_unref,
};
use neon::types::{JsInt32Array, JsUint8Array};

pub struct JsSide {
    env: Env,
    scratch: Ref,
    words: Ref,
    on_completions: Ref,
    is_held: Cell<bool>,
}

/// Where completions go, held for one call.
pub struct Target<'cx> {
    pub scratch: Handle<'cx, JsUint8Array>,
    pub words: Handle<'cx, JsInt32Array>,
    pub on_completions: Handle<'cx, JsFunction>,
}

impl JsSide {
    /// The binding, which is `this`, keeps all three for as long as it is there itself.
    pub fn new<'cx>(
        cx: &mut FunctionContext<'cx>,
        scratch: Handle<'cx, JsUint8Array>,
        words: Handle<'cx, JsInt32Array>,
        on_completions: Handle<'cx, JsFunction>,
    ) -> NeonResult<Self> {
        let kept = cx.empty_array();
        kept.prop(cx, 0_u32).set(scratch)?;
        kept.prop(cx, 1_u32).set(words)?;
        kept.prop(cx, 2_u32).set(on_completions)?;
        cx.this::<JsObject>()?.prop(cx, "kept").set(kept)?;
        Ok(Self {
            env: cx.to_raw(),
            scratch: weak(cx, scratch)?,
            words: weak(cx, words)?,
            on_completions: weak(cx, on_completions)?,
            is_held: Cell::new(false),
        })
    }

    /// `None` for a copy that was collected: there is nobody to tell.
    pub fn target<'cx, C: Context<'cx>>(&self, cx: &mut C) -> Option<Target<'cx>> {
        Some(Target {
            scratch: get(cx, self.scratch)?,
            words: get(cx, self.words)?,
            on_completions: get(cx, self.on_completions)?,
        })
    }

    pub fn words<'cx, C: Context<'cx>>(&self, cx: &mut C) -> Option<Handle<'cx, JsInt32Array>> {
        get(cx, self.words)
    }

    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// From here on the module is not collected.
    pub fn hold<'cx, C: Context<'cx>>(&self, cx: &mut C) {
        if !self.is_held.replace(true) {
            let mut count = 0;
            // SAFETY: the reference is this environment's and not deleted before `self` is dropped. Breach: the tests of
            // copies crash.
            let _ = unsafe { reference_ref(cx.to_raw(), self.on_completions, &raw mut count) };
        }
    }

    pub fn release<'cx, C: Context<'cx>>(&self, cx: &mut C) {
        if self.is_held.replace(false) {
            let mut count = 0;
            // SAFETY: as in `hold`, whose count this takes back. Breach: the tests of copies crash.
            let _ = unsafe { reference_unref(cx.to_raw(), self.on_completions, &raw mut count) };
        }
    }
}

impl Drop for JsSide {
    fn drop(&mut self) {
        for reference in [self.scratch, self.words, self.on_completions] {
            // SAFETY: the functions of the binding own this, and Node drops them on the environment's thread before the
            // environment is gone; each reference is deleted once. Breach: the tests of copies and of workers crash.
            let _ = unsafe { delete_reference(self.env, reference) };
        }
    }
}

fn weak<'cx, C: Context<'cx>, V: Value>(cx: &mut C, value: Handle<'_, V>) -> NeonResult<Ref> {
    let mut reference = std::ptr::null_mut();
    // SAFETY: `env` and `value` are valid inside this call, and `reference` a place for the answer. Breach: every test
    // crashes.
    match unsafe { create_reference(cx.to_raw(), value.to_raw(), 0, &raw mut reference) } {
        Ok(()) => Ok(reference),
        Err(_) => cx.throw_error("no reference can be made"),
    }
}

/// `V` is what the reference was made of.
fn get<'cx, C: Context<'cx>, V: Value>(cx: &mut C, reference: Ref) -> Option<Handle<'cx, V>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: the reference is this environment's, and was made of a `V`; a value that was collected is null. Breach: the
    // tests of copies crash.
    unsafe {
        get_reference_value(cx.to_raw(), reference, &raw mut value).ok()?;
        (!value.is_null()).then(|| V::from_raw(cx, value))
    }
}
