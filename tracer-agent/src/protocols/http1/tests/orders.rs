//! Properties: whatever is said, split and lost, no response is given to the wrong request.

use proptest::prelude::*;

use super::{Outcome, Stages, settings};
use crate::{
    capture::record::Record,
    testing::{End, Way},
};

/// One exchange of a script.
#[derive(Clone, Debug)]
struct Turn {
    request_body: u64,
    response_body: u64,
    splits: Vec<usize>,
    interim: bool,
    chunked: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    (
        0..3_u64,
        0..3_u64,
        prop::collection::vec(1..60_usize, 0..3),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(request_body, response_body, mut splits, interim, chunked)| {
            splits.sort_unstable();
            Turn {
                request_body: request_body * 10,
                response_body: response_body * 10,
                splits,
                interim,
                chunked,
            }
        })
}

fn request(end: End, way: Way, id: usize, turn: &Turn) -> End {
    let head = format!(
        "POST /{id} HTTP/1.1|X-Id: {id}|{}",
        length(turn.request_body, turn.chunked)
    );
    say(end, way, &head, turn.request_body, &turn.splits)
}

fn response(end: End, way: Way, id: usize, turn: &Turn) -> End {
    let head = format!(
        "HTTP/1.1 200 OK|X-Id: {id}|{}",
        length(turn.response_body, turn.chunked)
    );
    say(end, way, &head, turn.response_body, &turn.splits)
}

fn length(body: u64, chunked: bool) -> String {
    if chunked && body > 0 {
        "Transfer-Encoding: chunked".into()
    } else {
        format!("Content-Length: {body}")
    }
}

fn say(end: End, way: Way, head: &str, body: u64, splits: &[usize]) -> End {
    let head = head.replace('|', "\r\n") + "\r\n\r\n";
    if body == 0 {
        end.split(way, head.as_bytes(), splits)
    } else {
        end.head(way, head.as_bytes(), 0)
            .body(way, body / 2)
            .last(way, body - body / 2)
    }
}

/// A conversation in bursts: a burst of one is the usual keep-alive, a longer one is pipelined in one call.
/// With each record, the exchange it belongs to.
fn script(bursts: &[Vec<Turn>], client: bool) -> (End, Vec<usize>) {
    let (requests, responses) = if client {
        (Way::Sent, Way::Received)
    } else {
        (Way::Received, Way::Sent)
    };
    let mut end = if client {
        End::connected(3)
    } else {
        End::accepted(2)
    };
    let mut owners = vec![usize::MAX; end.encoded().len()];
    let mut first = 0;
    for burst in bursts {
        let ids = first..first + burst.len();
        for (id, turn) in ids.clone().zip(burst) {
            end = request(
                if id == first { end } else { end.same_call() },
                requests,
                id,
                turn,
            );
            owners.resize(end.encoded().len(), id);
        }
        for (id, turn) in ids.zip(burst) {
            if turn.interim {
                // It is part of no exchange's times or sizes.
                end = end.message(responses, "HTTP/1.1 103 Early Hints", 0);
                owners.push(usize::MAX);
            }
            end = response(end, responses, id, turn);
            owners.resize(end.encoded().len(), id);
        }
        first += burst.len();
    }
    end = end.close();
    owners.resize(end.encoded().len(), usize::MAX);
    (end, owners)
}

fn replay(end: &End, lost: &[bool]) -> Outcome {
    let mut stages = Stages::new(settings());
    for (place, bytes) in end.encoded().iter().enumerate() {
        if !lost.get(place).copied().unwrap_or_default() {
            let record = Record::decode(bytes).unwrap();
            stages
                .protocols
                .push(stages.connections.apply(&record), &mut stages.events);
        }
    }
    stages.finish()
}

/// The ids of all complete exchanges; fails on an exchange whose request and response differ.
fn complete(outcome: &Outcome) -> Vec<usize> {
    let id = |headers: &[(String, String)]| headers.first().map(|(_, id)| id.clone());
    let mut complete = Vec::new();
    for (exchange, ending) in outcome.ended() {
        let sent = exchange.request.target.trim_start_matches('/').to_owned();
        if let Some(answered) = ending
            .response
            .as_ref()
            .and_then(|head| id(&head.captured_headers))
        {
            assert_eq!(answered, sent, "a response was given to the wrong request");
        }
        // No script has an early response, so that a request of unknown length has lost something.
        if !ending.incomplete && ending.failure.is_none() && ending.request_body.is_some() {
            assert!(ending.response.is_some());
            complete.push(sent.parse().unwrap());
        }
    }
    complete.sort_unstable();
    complete
}

fn losses(len: usize, seeds: &[u8], per_256: u8) -> Vec<bool> {
    (0..len)
        .map(|place| place > 0 && place + 1 < len && seeds[place % seeds.len()] < per_256)
        .collect()
}

proptest! {
    #[test]
    fn everything_is_complete_when_nothing_is_lost(
        bursts in prop::collection::vec(prop::collection::vec(turn(), 1..4), 1..6),
        client: bool,
    ) {
        let (end, _) = script(&bursts, client);
        let all: Vec<usize> = (0..bursts.iter().map(Vec::len).sum()).collect();
        prop_assert_eq!(complete(&replay(&end, &[])), all);
    }

    #[test]
    fn without_pipelining_a_loss_costs_the_exchanges_it_touches_and_no_other(
        turns in prop::collection::vec(turn(), 1..12),
        client: bool,
        lost in any::<prop::sample::Index>(),
    ) {
        let bursts: Vec<_> = turns.into_iter().map(|turn| vec![turn]).collect();
        let (end, owners) = script(&bursts, client);
        let lost = 1 + lost.index(owners.len() - 2);
        let mut pattern = vec![false; owners.len()];
        pattern[lost] = true;
        let untouched: Vec<usize> = (0..bursts.len()).filter(|id| *id != owners[lost]).collect();
        prop_assert_eq!(complete(&replay(&end, &pattern)), untouched);
    }

    #[test]
    fn without_pipelining_no_pattern_of_losses_makes_a_wrong_pair(
        turns in prop::collection::vec(turn(), 1..20),
        client: bool,
        seeds in prop::collection::vec(any::<u8>(), 97),
        per_256 in 1_u8..200,
    ) {
        let bursts: Vec<_> = turns.into_iter().map(|turn| vec![turn]).collect();
        let (end, owners) = script(&bursts, client);
        let lost = losses(owners.len(), &seeds, per_256);
        let touched = |id: usize| owners.iter().zip(&lost).any(|(owner, lost)| *owner == id && *lost);
        for id in complete(&replay(&end, &lost)) {
            prop_assert!(!touched(id), "{} is called complete", id);
        }
    }

    #[test]
    fn pipelined_no_lost_burst_of_records_makes_a_wrong_pair(
        bursts in prop::collection::vec(prop::collection::vec(turn(), 2..4), 1..8),
        client: bool,
        from in any::<prop::sample::Index>(),
        len in 1..6_usize,
    ) {
        let (end, owners) = script(&bursts, client);
        let from = 1 + from.index(owners.len() - 2);
        let lost: Vec<bool> = (0..owners.len()).map(|place| place + 1 < owners.len() && (from..from + len).contains(&place)).collect();
        complete(&replay(&end, &lost));
    }

    #[test]
    fn no_record_makes_the_stage_panic_or_leave_something_running(
        records in prop::collection::vec((any::<bool>(), 0..400_u32, 0..200_u64, "[ -~\r\n]{0,40}", any::<bool>()), 0..40),
    ) {
        let mut end = End::accepted(2);
        for (sent, flags, len, text, lost) in &records {
            let way = if *sent { Way::Sent } else { Way::Received };
            end = end.data(way, text.as_bytes(), len + text.len() as u64, flags & !1);
            if *lost {
                end = end.lost();
            }
        }
        replay(&end.close(), &[]);
    }
}
