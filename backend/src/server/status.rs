//! Who leads and which servers there are.

use super::Call;
use crate::rpc::{Answer, Error};

pub(super) fn leader(call: Call<'_>) -> Result<Answer<String>, Error> {
    let leader = call.server.raft.status().leader.map(|peer| peer.address).unwrap_or_default();
    Ok(call.answer(0, leader))
}

pub(super) fn peers(call: Call<'_>) -> Result<Answer<Vec<String>>, Error> {
    let peers = call.server.raft.status().peers.into_iter().map(|peer| peer.address).collect();
    Ok(call.answer(0, peers))
}
