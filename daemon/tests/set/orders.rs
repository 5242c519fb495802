//! What an operator orders a SET to do.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::{GoAwayReason, ServerFrame};
use hongbao_uring::simulated::SimulatedOptions;
use hongbaod::messages::{Request, SetCommand, Whom};

use crate::stand::{RULES, Stand, envelope};

#[test]
fn a_held_set_gives_its_stock_back_and_hands_out_nothing_until_it_is_let_go() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    for index in 0..3 {
        stand.stock.push(envelope(index)).unwrap();
    }
    stand.commands.push(SetCommand::Hold(true)).unwrap();
    stand.settle();
    assert_eq!((stand.returns.slots(), stand.cells.commands_obeyed.get()), (3, 1));
    // What is dealt meanwhile goes back with the next tick.
    stand.stock.push(envelope(3)).unwrap();
    stand.shake(peer, 1);
    assert!(matches!(stand.heard(peer)[..], [ServerFrame::None { sequence: 1, .. }]));
    stand.pass_ms(250);
    assert_eq!(stand.returns.slots(), 4);
    stand.commands.push(SetCommand::Hold(false)).unwrap();
    stand.pass_ms(5000);
    stand.stock.push(envelope(4)).unwrap();
    stand.shake(peer, 2);
    assert!(matches!(stand.requests.pop(), Ok(Request::Claim { sequence: 2, .. })));
}

#[test]
fn orders_over_many_connections_take_turns_and_keep_their_order() {
    let mut stand = Stand::with(RULES, 3000, 4000, SimulatedOptions::default());
    let peers: Vec<_> = (0..20).map(|user| stand.online(user % 2)).collect();
    stand.commands.push(SetCommand::Bar { user: UserId(1), retry_after_ms: 9000 }).unwrap();
    stand.commands.push(SetCommand::Dismiss(Whom::User(UserId(0)))).unwrap();
    stand.commands.push(SetCommand::Dismiss(Whom::Slot(2999))).unwrap();
    stand.turn();
    assert_eq!(stand.cells.commands_obeyed.get(), 0, "3,064 places are more than one turn looks at");
    stand.settle();
    stand.settle();
    assert_eq!(stand.cells.commands_obeyed.get(), 3);
    for (number, peer) in peers.into_iter().enumerate() {
        let heard = stand.heard(peer);
        let [ServerFrame::GoAway { reason, retry_after_ms }] = heard[..] else { panic!("{heard:?}") };
        if number % 2 == 1 {
            assert_eq!((reason, retry_after_ms), (GoAwayReason::Barred, 9000));
        } else {
            assert_eq!(reason, GoAwayReason::Dismissed);
        }
    }
    let barred = stand.connect();
    stand.hello(barred, 1);
    assert!(matches!(stand.heard(barred)[..], [ServerFrame::GoAway { reason: GoAwayReason::Barred, .. }]));
    stand.commands.push(SetCommand::Unbar(UserId(1))).unwrap();
    stand.settle();
    stand.online(1);
}
