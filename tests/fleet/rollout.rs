//! Members that leave and come.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::engine::entries;
use super::*;
use crate::support::process::Program;

/// Starts a load balancer in front of one instance at a time. Returns its address.
async fn balancer(target: Arc<Mutex<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = *target.lock();
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

/// Each member is replaced in turn while spans come. It hands its undecided traces to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_of_all_members_splits_no_error_trace() {
    let Some(engine) = Engine::start() else { return };
    let target = Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], 1))));
    let handoff = format!(", handoff: {{endpoint: 'http://{}'}}", balancer(Arc::clone(&target)).await);
    let text = config(&engine, &handoff).replace("decision_wait: 2s", "decision_wait: 40s");
    let mut daemons = fleet(&vec![text.clone(); 3]).await;
    let traces: Vec<u128> = (0..120).map(|_| trace_id(false)).collect();
    let mut handed_over = 0.0;
    for round in 0..3 {
        let all: Vec<&Daemon> = daemons.iter().collect();
        let spans = traces.iter().enumerate().map(|(i, &trace)| span(trace, &format!("{i}-{round}")));
        scatter(&all, spans.collect()).await;
        daemons.push(start(&text).await);
        meet(&daemons.iter().collect::<Vec<_>>()).await;
        *target.lock() = daemons[3].addresses()[0];
        let text = stop(daemons.remove(0)).await;
        handed_over += metric(&text, "spansieve_handed_over_spans_total", &[]);
        assert_eq!(metric(&text, "spansieve_sampled_out_spans_total", &[]), 0.0);
        meet(&daemons.iter().collect::<Vec<_>>()).await;
    }
    assert!(handed_over > 100.0, "{handed_over}");
    let all: Vec<&Daemon> = daemons.iter().collect();
    let failed = traces.iter().enumerate().map(|(i, &trace)| error(trace, &format!("{i}-failed")));
    scatter(&all, failed.collect()).await;
    eventually("all traces are whole", || kept(&all).len() == 4 * traces.len()).await;
    for daemon in daemons {
        stop(daemon).await;
    }
}

/// A member that stops hands small traces over, and decides large ones. They are slow, which only it knows, and no early
/// verdict says so. The other member has a span of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_handed_over_keeps_its_evidence_for_all() {
    let Some(engine) = Engine::start() else { return };
    let text = |more: &str| config(&engine, more).replace("decision_wait: 2s", "decision_wait: 15s");
    let stays = start(&text("")).await;
    let goes = start(&text(&format!(", handoff: {{endpoint: 'http://{}'}}", stays.addresses()[0]))).await;
    meet(&[&stays, &goes]).await;
    let small: Vec<u128> = (0..20).map(|_| trace_id(false)).collect();
    let large: Vec<u128> = (0..6).map(|_| trace_id(false)).collect();
    send(&goes, small.iter().map(|&trace| span(trace, "small")).collect()).await;
    for (i, &trace) in large.iter().enumerate() {
        let mut slow = span(trace, &format!("slow-{i}"));
        slow.start_time_unix_nano -= 2_000 * MS;
        let mut request = request("cart", vec![slow]);
        let group = &mut request.resource_spans[0];
        group.schema_url = "u".repeat(3 << 20);
        Client::new(&support::otlp(&goes)).export(request).await.unwrap();
    }
    send(&stays, large.iter().enumerate().map(|(i, &trace)| span(trace, &format!("part-{i}"))).collect()).await;
    let text = stop(goes).await;
    assert_eq!(metric(&text, "spansieve_handed_over_spans_total", &[]), small.len() as f64);
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), large.len() as f64);
    eventually("the other parts are kept", || kept(&[&stays]).len() == large.len()).await;
    stop(stays).await;
}

/// The instance that should take the traces cannot be reached. Then the summaries of the member that leaves still count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_that_fails_leaves_its_summaries_to_the_others() {
    let Some(engine) = Engine::start() else { return };
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let handoff = format!(", handoff: {{endpoint: 'http://{closed}'}}");
    let text = |more: &str| config(&engine, more).replace("decision_wait: 2s", "decision_wait: 12s");
    let mut daemons = fleet(&[text(&handoff), text("")]).await;
    let traces: Vec<u128> = (0..60).map(|_| trace_id(false)).collect();
    let spans = |value: &str| {
        let spans = traces.iter().enumerate().map(|(i, &trace)| with(span(trace, &format!("{i}-{value}")), "k", value));
        spans.collect::<Vec<_>>()
    };
    send(&daemons[0], spans("a")).await;
    let summaries = |at: usize, direction: &str| {
        let direction = format!("direction=\"{direction}\"");
        metric(&scrape(&daemons[at]), "spansieve_fleet_messages_total", &[&direction, "kind=\"summary\""])
    };
    eventually("the summaries are there", || {
        let received = summaries(1, "received");
        received > 5.0 && received == summaries(0, "sent")
    })
    .await;
    let owned = summaries(1, "received");
    stop(daemons.remove(0)).await;
    // What the policy `both` wants is complete only with the spans of the member that has gone.
    send(&daemons[0], spans("b")).await;
    settled(&[&daemons[0]]).await;
    let kept = kept(&[&daemons[0]]).len();
    assert!(kept as f64 >= owned && kept < traces.len(), "{kept} of {owned}");
    stop(daemons.remove(0)).await;
}

/// A member is killed, as far as that can be done to a part of a process: it gives no sign of life any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_gone_takes_nothing_with_it_but_its_own_spans() {
    let Some(engine) = Engine::start() else { return };
    let text = config(&engine, "").replace("decision_wait: 2s", "decision_wait: 9s");
    let mut daemons = fleet(&vec![text; 3]).await;
    let traces: Vec<u128> = (0..60).map(|_| trace_id(false)).collect();
    // What the policy `both` wants is at the two members that stay. A third of the traces have the other one as owner.
    let spans = |value: &str| {
        let spans = traces.iter().enumerate().map(|(i, &trace)| with(span(trace, &format!("{i}-{value}")), "k", value));
        spans.collect::<Vec<_>>()
    };
    send(&daemons[0], spans("a")).await;
    send(&daemons[1], spans("b")).await;
    let gone = daemons.remove(2);
    drop(gone);
    let all: Vec<&Daemon> = daemons.iter().collect();
    settled(&all).await;
    assert_eq!(kept(&all).len(), 2 * traces.len(), "the summaries were sent to the new owners");
    for daemon in daemons {
        stop(daemon).await;
    }
}

/// A process is paused and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stands_still_is_missed_and_comes_back() {
    let Some(engine) = Engine::start() else { return };
    let here = start(&config(&engine, "")).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = config(&engine, "").replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let there = Program::start(format!("http://127.0.0.1:{port}"), &text).await;
    eventually("they meet", || members(&here, "same") == 2.0).await;
    let signal = |name: &str| {
        let id = there.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    eventually("it is missed", || members(&here, "same") == 1.0).await;
    let failed = trace_id(false);
    send(&here, vec![error(failed, "here")]).await;
    eventually("the others go on", || support::store(&here).holds(&id(failed))).await;
    signal("-CONT");
    eventually("it is back", || members(&here, "same") == 2.0).await;
    let mut client = Client::new(&there.uri);
    client.export(request("shop", vec![span(failed, "there")])).await.unwrap();
    there
        .eventually("the late span follows the verdict", |text| {
            metric(text, "spansieve_exported_spans_total", &[]) == 1.0
        })
        .await;
    stop(here).await;
}

/// The number of a member in the list is that in its log, and in those of the others when it comes and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_members_as_the_list_does() {
    let Some(engine) = Engine::start() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = config(&engine, "").replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let log = tempfile::NamedTempFile::new().unwrap();
    let program = Program::start_logging(format!("http://127.0.0.1:{port}"), &text, log.reopen().unwrap()).await;
    let mut client = engine.client().await;
    let numbers = async |client: &mut _| -> Vec<String> {
        entries(client).await.iter().map(|entry| entry[..16].to_owned()).collect()
    };
    program.eventually("it is a member", |text| metric(text, "spansieve_fleet_up", &[]) == 1.0).await;
    let own = numbers(&mut client).await.remove(0);
    let other = start(&config(&engine, "")).await;
    program.eventually("they meet", |text| metric(text, "spansieve_fleet_members", &["same"]) == 2.0).await;
    let number = numbers(&mut client).await.into_iter().find(|number| *number != own).unwrap();
    stop(other).await;
    program.eventually("it has gone", |text| metric(text, "spansieve_fleet_members", &["same"]) == 1.0).await;
    assert_eq!(program.signal("-TERM"), Some(0));
    let log = std::fs::read_to_string(log.path()).unwrap();
    let says = |message: &str, field: &str| log.lines().any(|line| line.contains(message) && line.contains(field));
    assert!(says("This instance is a member of a fleet.", &own), "{own}: {log}");
    for field in [format!("\"joined\":\"{number}\""), format!("\"left\":\"{number}\"")] {
        assert!(says("The fleet has changed.", &field), "{field}: {log}");
    }
}
