//! The server of the benchmarks. It listens on ports the system chooses, prints them as one line of JSON with its
//! certificate, and ends when its standard input does, so that it never outlives its parent.

mod bodies;
mod delay;
mod proxy;
mod routes;
mod serve;
mod tls;
mod websocket;

use std::io::{Read, Write};
use std::time::Duration;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the delaying proxies add to each direction: 40 ms to a round trip.
const ONE_WAY: Duration = Duration::from_millis(20);

fn main() -> Result<(), Error> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.clamp(2, 8))
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Error> {
    let identity = tls::Identity::generate()?;
    let http = serve::http1().await?;
    let https = serve::tls(identity.acceptor.clone()).await?;
    let ports = serde_json::json!({
        "http": http,
        "https": https,
        "h2c": serve::h2c().await?,
        "websocket": websocket::echo().await?,
        "proxy": proxy::forward().await?,
        "delayedHttp": delay::relay(http, ONE_WAY).await?,
        "delayedHttps": delay::relay(https, ONE_WAY).await?,
        "ca": identity.pem,
        "pid": std::process::id(),
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ports}")?;
    stdout.flush()?;
    tokio::task::spawn_blocking(|| {
        let mut ignored = [0; 64];
        while matches!(std::io::stdin().read(&mut ignored), Ok(read) if read > 0) {}
        // Not a return: connections under way would hold the runtime.
        std::process::exit(0)
    })
    .await?
}
