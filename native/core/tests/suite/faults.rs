//! The table of faults that `npm run faults` runs, as far as it is HTTP/1.1 without options of a client: over the engine
//! of this run, without JavaScript above it. Its server is a program for the project's own Node.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sluice_core::transport::EngineKind;
use sluice_core::{Agent, DispatchOptions, Origin};
use sluice_test_macros::both_engines;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{Outcome, agent, engine, get, recorder};

const SLOTS: usize = 8;
/// A kind that must come to a timeout has its own.
const FAR: Duration = Duration::from_secs(20);

/// Ends with its standard input, which is dropped with it.
struct FaultServer {
    info: Value,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

fn path(parts: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(parts)
}

impl FaultServer {
    async fn start() -> Self {
        let node = if cfg!(windows) {
            "node_modules/node/bin/node.exe"
        } else {
            "node_modules/node/bin/node"
        };
        let mut child = Command::new(path(node))
            .arg(path("test/faults/server/program.ts"))
            .arg(SLOTS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the project's own Node, which `npm run setup` installs");
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let info = serde_json::from_str(&output.next_line().await.unwrap().unwrap()).unwrap();
        Self {
            info,
            input,
            output,
            _child: child,
        }
    }

    async fn ask(&mut self, command: Value) -> Value {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        serde_json::from_str(&self.output.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn arm(&mut self, slot: usize, kinds: &[&str]) {
        self.ask(json!({ "id": 0, "slot": slot, "arm": kinds, "protocol": "h1" }))
            .await;
    }

    fn origin(&self, slot: usize) -> Origin {
        let port = &self.info["slots"][slot]["h1"];
        Origin::parse(&format!("http://127.0.0.1:{port}")).unwrap()
    }

    /// Name, options and outcomes.
    fn kinds(&self) -> Vec<Kind> {
        let has = |list: &Value| list.as_array().unwrap().iter().any(|protocol| protocol == "h1");
        let is_ours = |kind: &&Value| has(&kind["protocols"]) && !has(&kind["awaited"]) && kind["timeouts"].is_object();
        let kinds = self.info["kinds"].as_array().unwrap().iter();
        kinds.filter(is_ours).map(Kind::new).collect()
    }
}

struct Kind {
    name: String,
    headers_timeout: Duration,
    body_timeout: Duration,
    expected: Vec<String>,
}

impl Kind {
    fn new(info: &Value) -> Self {
        let timeout = |name: &str| info["timeouts"][name].as_u64().map_or(FAR, Duration::from_millis);
        Self {
            name: info["name"].as_str().unwrap().to_owned(),
            headers_timeout: timeout("headersTimeout"),
            body_timeout: timeout("bodyTimeout"),
            expected: info["dispatch"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| text.as_str().unwrap().to_owned())
                .collect(),
        }
    }

    async fn run(&self, agent: &Agent, origin: &Origin) -> String {
        let (handler, mut events) = recorder();
        let options = DispatchOptions {
            headers_timeout: Some(self.headers_timeout),
            body_timeout: Some(self.body_timeout),
            ..get(origin)
        };
        agent.dispatch(options, handler);
        describe(&events.finish().await)
    }
}

/// As the table has it.
fn describe(outcome: &Outcome) -> String {
    let status = outcome.start.as_ref().map(|start| start.status);
    match (&outcome.end, status) {
        (Ok(_), _) if outcome.body.is_empty() => format!("{}", status.unwrap()),
        (Ok(_), _) if outcome.body.len() > 24 || !outcome.body.iter().all(|byte| (32..127).contains(byte)) => {
            format!("{} {} bytes", status.unwrap(), outcome.body.len())
        }
        (Ok(_), _) => format!("{} {}", status.unwrap(), String::from_utf8_lossy(&outcome.body)),
        (Err(error), None) => error.error_code().to_owned(),
        (Err(error), Some(status)) => format!("{status} then {}", error.error_code()),
    }
}

#[both_engines]
async fn every_fault_of_the_table_is_one_right_end_and_the_next_request_succeeds() {
    let mut server = FaultServer::start().await;
    let kinds = server.kinds();
    assert!(kinds.len() > 100, "the table has become shorter: {}", kinds.len());
    let mut wrong = Vec::new();
    for kinds in kinds.chunks(SLOTS) {
        let agents: Vec<_> = kinds.iter().map(|_| agent()).collect();
        let origins: Vec<_> = (0..kinds.len()).map(|slot| server.origin(slot)).collect();
        let all = || kinds.iter().zip(&agents).zip(&origins);
        for (slot, kind) in kinds.iter().enumerate() {
            server.arm(slot, &[&kind.name]).await;
        }
        let outcomes = join_all(all().map(|((kind, agent), origin)| kind.run(agent, origin))).await;
        for slot in 0..kinds.len() {
            server.arm(slot, &[]).await;
        }
        let next = join_all(all().map(|((_, agent), origin)| async move {
            let (handler, mut events) = recorder();
            agent.dispatch(get(origin), handler);
            describe(&events.finish().await)
        }))
        .await;
        for (slot, kind) in kinds.iter().enumerate() {
            // The other engine has codes of its own for some; one end it must have all the same.
            if engine() == EngineKind::Wire && !kind.expected.contains(&outcomes[slot]) {
                wrong.push(format!("{}: {}", kind.name, outcomes[slot]));
            }
            if next[slot] != "200 ok" {
                wrong.push(format!("{}: the next request: {}", kind.name, next[slot]));
            }
            if agents[slot].gauge().held() != 0 {
                wrong.push(format!("{}: {} bytes held", kind.name, agents[slot].gauge().held()));
            }
        }
        // What reqwest keeps goes with its client alone.
        drop(agents);
        for (slot, kind) in kinds.iter().enumerate() {
            let open = server.ask(json!({ "id": 0, "slot": slot, "drain": 10_000 })).await;
            if open["open"] != 0 {
                wrong.push(format!("{}: {} connections left", kind.name, open["open"]));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
