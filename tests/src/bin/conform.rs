//! Runs every scenario on the real Consul, records its answers, runs them on Muster and prints every difference and the
//! score. Arguments: the path of the real binary, then words that scenario names must contain.

#![allow(clippy::print_stdout, reason = "a command line tool")]

use anyhow::{Context as _, Result, ensure};
use tests::{
    node::Product,
    oracle::{self, Score},
    scenario::Scenario,
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let record_only = arguments.next_if_eq("--record-only").is_some();
    let consul = arguments.next().context("first argument: path of the real Consul")?;
    let words: Vec<String> = arguments.collect();
    let (mut score, mut reports) = (Score::default(), String::new());
    for scenario in Scenario::all()? {
        if !words.iter().all(|word| scenario.name.contains(word.as_str())) {
            continue;
        }
        let outcome = conform(&scenario, &consul, record_only, &mut score);
        let word = match &outcome {
            Ok(report) if report.is_empty() => "same",
            Ok(_) => "DIFFERS",
            Err(_) => "FAILED",
        };
        println!("{word} {}: {}", scenario.name, scenario.title);
        reports.push_str(&outcome.unwrap_or_else(|error| format!("{error:#}\n")));
    }
    println!(
        "\n{reports}\n{} of {} answers match Consul {}, {} differ on purpose",
        score.matched,
        score.total,
        oracle::VERSION,
        score.on_purpose
    );
    ensure!(reports.is_empty(), "some answers differ");
    Ok(())
}

fn conform(scenario: &Scenario, consul: &str, record_only: bool, score: &mut Score) -> Result<String> {
    oracle::record(scenario, &scenario.run(Product::Consul(consul.into())).context("on the real Consul")?)?;
    if record_only {
        return Ok(String::new());
    }
    oracle::compare(scenario, &scenario.run(Product::Muster).context("on Muster")?, score)
}
