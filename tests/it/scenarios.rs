//! Every scenario on Muster, compared with what the real Consul answered.

use tests::{
    node::Product,
    oracle::{self, Score},
    scenario::Scenario,
};

#[test]
fn answers_are_those_of_the_real_consul() {
    let (mut score, mut reports) = (Score::default(), String::new());
    for scenario in Scenario::all().expect("the scenario files are readable") {
        let observed = scenario.run(Product::Muster).expect("every step can be sent");
        reports.push_str(&oracle::compare(&scenario, &observed, &mut score).expect("every scenario has a recording"));
    }
    println!(
        "conformance: {} of {} answers match Consul {}, {} differ on purpose",
        score.matched,
        score.total,
        oracle::VERSION,
        score.on_purpose
    );
    assert!(reports.is_empty(), "\n{reports}");
}
