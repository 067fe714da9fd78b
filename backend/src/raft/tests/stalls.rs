//! Disks that stand still for a while: nobody is taken for lost, nobody is deposed, and no write is refused.

use super::*;

const STALL: Duration = Duration::from_secs(3);

/// Watches a leader until something ends: whether its lease held all the time.
async fn leads_until<T>(leader: &Handle, end: impl Future<Output = T>) -> (T, bool) {
    let (mut end, mut led) = (std::pin::pin!(end), true);
    loop {
        match clock::timeout(Duration::from_millis(50), end.as_mut()).await {
            Ok(ended) => return (ended, led),
            Err(_) => led &= leader.leads(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn servers_whose_disks_stand_still_are_not_taken_for_lost() {
    let (_hub, servers) = mortals(11).await;
    let leader = servers[0].server.as_ref().expect("runs").0.clone();
    leader.propose(put("before")).await.expect("leads");
    let (term, began) = (leader.status().term, clock::Instant::now());
    servers[1..].iter().for_each(|server| server.disk.stall(STALL));
    let (held, led) = leads_until(&leader, leader.propose(put("held"))).await;
    held.expect("is only late");
    assert!(began.elapsed() >= STALL, "on one disk nothing is agreed on");
    assert!(led, "they answered heartbeats all the time");
    assert_eq!(leader.status().term, term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_disk_stands_still_goes_on_while_the_others_write() {
    let (_hub, servers) = mortals(12).await;
    let leader = servers[0].server.as_ref().expect("runs").0.clone();
    leader.propose(put("before")).await.expect("leads");
    let (term, began, purged_before) = (leader.status().term, clock::Instant::now(), purged(&leader));
    servers[0].disk.stall(STALL);
    let writes = async {
        for number in 0.. {
            leader.propose(put(&number.to_string())).await.expect("two of three are enough");
            if began.elapsed() > STALL * 2 / 3 {
                return number;
            }
        }
        0
    };
    let (written, led) = leads_until(&leader, writes).await;
    assert!(led && written > 100, "{written} written");
    assert!(purged(&leader) > purged_before, "meanwhile a snapshot was taken and the log before it let go");
    assert_eq!(leader.status().term, term);
}
