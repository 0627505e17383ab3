//! The engine of the test that runs.

use std::cell::Cell;

use sluice_core::transport::EngineKind;

thread_local! {
    /// Of the test on this thread: its runtime runs everything that it spawns here, too.
    static ENGINE: Cell<Option<EngineKind>> = const { Cell::new(None) };
}

/// Runs a test with this engine under [`agent`](super::agent). `#[both_engines]` and `#[on_wire]` of
/// `sluice-test-macros` call it.
pub async fn on(engine: EngineKind, test: impl Future<Output = ()>) {
    // Several tests run on one thread where there is no more than one.
    struct Undeclare;
    impl Drop for Undeclare {
        fn drop(&mut self) {
            ENGINE.set(None);
        }
    }
    ENGINE.set(Some(engine));
    let _undeclare = Undeclare;
    test.await;
}

/// Panics in a test that has declared none, so that none runs on a default.
pub fn engine() -> EngineKind {
    ENGINE
        .get()
        .expect("this test declares no engine: #[both_engines] or #[on_wire] in place of #[tokio::test]")
}

#[tokio::test]
#[should_panic(expected = "declares no engine")]
async fn an_agent_without_a_declared_engine_is_refused() {
    super::agent();
}
