//! `info`, `reload`, `monitor`: looking at a running agent and telling it to look again.
//!
//! Contract: command line, section "Cluster and agent".

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use shared::{
    agent::{GetSelf, Reload},
    endpoint::{encode_query, segment},
};

use super::{args::Args, client::Client, print::Print, signal};

/// `info`.
pub(super) async fn info(client: &Client, print: &mut Print) -> u8 {
    match client.call(&GetSelf).await {
        Ok(info) => {
            print.bytes(sections(&info.stats).as_bytes());
            0
        }
        Err(why) => {
            print.say(format!("Error querying agent: {why}"));
            1
        }
    }
}

fn sections(stats: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    for (section, values) in stats {
        out.push_str(&format!("{section}:\n"));
        for (key, value) in values {
            out.push_str(&format!("\t{key} = {value}\n"));
        }
    }
    out
}

/// `reload`.
pub(super) async fn reload(client: &Client, print: &mut Print) -> u8 {
    match client.call(&Reload).await {
        Ok(()) => {
            print.line("Configuration reload triggered");
            0
        }
        Err(why) => {
            print.say(format!("Error reloading: {why}"));
            1
        }
    }
}

/// `monitor`: until Ctrl-C or until the agent ends.
pub(super) async fn monitor(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let mut query = vec![("loglevel", args.get("log-level").unwrap_or("INFO").to_owned())];
    if args.is_on("log-json") {
        query.push(("logjson", "true".to_owned()));
    }
    let of = match args.get("node").unwrap_or_default() {
        "" => "agent".to_owned(),
        node => format!("muster/agent/{}", segment(node)),
    };
    let lines = match client.lines(&format!("{of}/monitor?{}", encode_query(&query))).await {
        Ok(lines) => lines,
        Err(why) => {
            print.say(format!("Error starting monitor: {why}"));
            return 1;
        }
    };
    let mut lines = std::pin::pin!(lines);
    let mut interrupted = std::pin::pin!(signal::interrupted());
    loop {
        tokio::select! {
            biased;
            () = &mut interrupted => return 0,
            chunk = lines.next() => match chunk {
                Some(Ok(bytes)) => print.bytes(&bytes),
                Some(Err(_)) | None => {
                    print.say("Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.");
                    return 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_comes_in_sections() {
        let values = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let stats = [("raft", values(&[("term", "2"), ("state", "Leader")])), ("agent", values(&[("checks", "0")]))];
        let stats = stats.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
        assert_eq!(sections(&stats), "agent:\n\tchecks = 0\nraft:\n\tstate = Leader\n\tterm = 2\n");
    }
}
