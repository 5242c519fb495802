use super::*;

const TOKEN: Token = Token { slot: 0xDEAD_BEEF, generation: Generation::new(0x00AB_CDEF) };
const TOLD: AfterRead = AfterRead { tell: true, again: false };
const TOLD_AND_AGAIN: AfterRead = AfterRead { tell: true, again: true };
const SILENT: AfterRead = AfterRead { tell: false, again: false };

/// Descriptor 1, polled.
fn polled() -> Receivers {
    let mut receivers = Receivers::new(2);
    receivers.opened(1);
    assert_eq!(receivers.begin(1, TOKEN), Begin::Poll);
    receivers
}

/// Descriptor 1, with a read on its way.
fn reading() -> Receivers {
    let mut receivers = polled();
    assert!(receivers.spoke(1, false));
    receivers
}

#[test]
fn whose_it_is_survives_every_fact() {
    let mut receivers = reading();
    receivers.spoke(1, true);
    receivers.remove(1);
    assert_eq!(receivers.token(1), TOKEN);
    assert_eq!(receivers.token(0), Token::default(), "others are not touched");
}

#[test]
fn a_word_of_the_poll_is_one_read_and_a_short_read_is_the_last() {
    let mut receivers = reading();
    assert_eq!(receivers.read_ended(1, Read::Data { full: false }), TOLD);
    assert!(receivers.spoke(1, false), "the next word is the next read");
}

#[test]
fn a_full_buffer_is_read_behind_without_another_word() {
    let mut receivers = reading();
    assert_eq!(receivers.read_ended(1, Read::Data { full: true }), TOLD_AND_AGAIN);
    assert_eq!(receivers.read_ended(1, Read::Nothing), SILENT);
}

#[test]
fn a_word_that_comes_beside_a_read_is_not_lost() {
    for read in [Read::Data { full: false }, Read::Nothing] {
        let mut receivers = reading();
        assert!(!receivers.spoke(1, false), "one read at a time");
        assert!(receivers.read_ended(1, read).again);
        assert_eq!(receivers.read_ended(1, Read::Nothing), SILENT, "and no more than one for it");
    }
}

#[test]
fn bytes_and_the_end_of_file_behind_one_word_are_both_told() {
    let mut receivers = polled();
    assert!(receivers.spoke(1, true));
    assert_eq!(receivers.read_ended(1, Read::Data { full: false }), TOLD_AND_AGAIN);
    assert_eq!(receivers.read_ended(1, Read::End), TOLD);
    assert!(!receivers.spoke(1, true), "after the end nobody is told anything");
}

#[test]
fn a_peer_that_hung_up_while_nobody_listened_is_heard_to_the_end_afterwards() {
    let mut receivers = reading();
    assert_eq!(receivers.read_ended(1, Read::NoBuffers), TOLD);
    assert!(!receivers.spoke(1, true));
    assert_eq!(receivers.begin(1, TOKEN), Begin::Read, "what the poll said meanwhile was not heard");
    assert_eq!(receivers.read_ended(1, Read::Data { full: false }), TOLD_AND_AGAIN);
    assert_eq!(receivers.read_ended(1, Read::End), TOLD);
}

#[test]
fn a_poll_that_an_overflow_ended_is_made_again_and_one_that_failed_is_told() {
    let mut receivers = polled();
    assert_eq!(receivers.poll_ended(1, false), AfterPoll::Poll);
    assert!(!receivers.is_over(1));
    assert_eq!(receivers.poll_ended(1, true), AfterPoll::Tell);
    assert!(receivers.is_over(1));
    assert_eq!(receivers.begin(1, TOKEN), Begin::Poll, "it can be tried again");
}

#[test]
fn a_cancelled_receive_is_told_even_where_an_overflow_ended_its_poll_first() {
    for failed in [true, false] {
        let mut receivers = polled();
        assert!(receivers.remove(1) && receivers.is_being_removed(1));
        assert_eq!(receivers.poll_ended(1, failed), AfterPoll::Tell);
        assert!(!receivers.is_being_removed(1) && receivers.is_over(1));
    }
}

#[test]
fn a_close_waits_for_the_poll_and_for_the_read_whichever_ends_last() {
    let mut receivers = reading();
    assert!(receivers.remove(1));
    assert!(!receivers.remove(1), "asked for once");
    assert_eq!(receivers.poll_ended(1, true), AfterPoll::Tell);
    assert!(!receivers.is_over(1), "the read would be taken for the next connection's");
    assert_eq!(receivers.read_ended(1, Read::Data { full: true }), SILENT, "told once that it is over");
    assert!(receivers.is_over(1));

    let mut receivers = reading();
    assert_eq!(receivers.read_ended(1, Read::End), TOLD);
    assert!(!receivers.is_over(1) && receivers.remove(1));
    assert_eq!(receivers.poll_ended(1, true), AfterPoll::Nothing, "the end was told before");
    assert!(receivers.is_over(1) && !receivers.remove(1));
}

#[test]
fn a_descriptor_opened_again_knows_nothing_of_its_last_life() {
    let mut receivers = polled();
    receivers.spoke(1, true);
    receivers.read_ended(1, Read::End);
    receivers.remove(1);
    receivers.poll_ended(1, true);
    receivers.opened(1);
    assert_eq!(receivers.begin(1, Token::default()), Begin::Poll);
    assert!(receivers.spoke(1, false));
    assert_eq!(receivers.read_ended(1, Read::Data { full: false }), TOLD, "nobody has hung up");
}

#[test]
#[should_panic(expected = "closed while it was received from")]
fn a_descriptor_whose_poll_is_with_the_kernel_cannot_be_opened() {
    polled().opened(1);
}

#[test]
#[should_panic(expected = "being received from already")]
fn two_receives_of_one_connection_are_refused() {
    polled().begin(1, TOKEN);
}
