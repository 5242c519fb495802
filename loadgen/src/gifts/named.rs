//! Whom a gift is for: neighbours in the circle of the run's users, which a few numbers describe.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::Recipients;
use rand::RngExt;

use crate::limits::GIFT_RECIPIENTS_MAX;

/// See the module's text. Users are counted from the run's first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who sends.
    sender: u32,
    /// The first who is named, counted on from the sender: 1 is the next user.
    first: u32,
    /// How many are named.
    count: u32,
    /// Users in the circle, the sender included.
    users: u32,
}

impl Named {
    /// `count` users other than the sender, from anywhere in the circle. There are more users than that.
    pub fn draw(sender: u32, count: u8, users: u32, generator: &mut impl rand::Rng) -> Self {
        let count = u32::from(count);
        assert!(count < users, "the plan was checked");
        Self { sender, first: 1 + generator.random_range(0..users - 1), count, users }
    }

    /// The users, where user 0 of the circle has this id.
    pub fn users(&self, first_user: u64) -> impl Iterator<Item = UserId> {
        let Self { sender, first, count, users } = *self;
        let others = users - 1;
        (0..count).map(move |number| {
            // Counted from the sender, whom the count passes over.
            let ahead = 1 + (first - 1 + number) % others;
            UserId(first_user + u64::from((u64::from(sender) + u64::from(ahead)) as u32 % users))
        })
    }

    /// As the wire has them.
    pub fn recipients(&self, first_user: u64) -> Recipients {
        let mut users = [UserId(0); GIFT_RECIPIENTS_MAX as usize];
        let mut count = 0;
        for (place, user) in users.iter_mut().zip(self.users(first_user)) {
            *place = user;
            count += 1;
        }
        Recipients::new(&users[..count]).expect("1 to 32 are named")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    proptest! {
        #[test]
        fn nobody_is_named_twice_and_no_sender_among_their_own_recipients(
            users in 2u32..200, sender in any::<u32>(), count in 1u8..=32, seed in any::<u64>(),
        ) {
            let (sender, count) = (sender % users, count.min((users - 1) as u8));
            let named = Named::draw(sender, count, users, &mut Pcg64Mcg::seed_from_u64(seed));
            let mut all: Vec<u64> = named.recipients(1_000).as_slice().iter().map(|user| user.0).collect();
            prop_assert!(all.iter().all(|user| (1_000..1_000 + u64::from(users)).contains(user)));
            prop_assert!(!all.contains(&(1_000 + u64::from(sender))));
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), usize::from(count));
        }
    }

    #[test]
    fn every_user_is_given_to_as_often_as_every_other() {
        let mut generator = Pcg64Mcg::seed_from_u64(7);
        let mut given = [0u32; 20];
        for gift in 0..20_000 {
            for user in Named::draw(gift % 20, 3, 20, &mut generator).users(0) {
                given[user.0 as usize] += 1;
            }
        }
        // 3,000 each, with a standard deviation of about 53: six of them.
        assert!(given.iter().all(|count| count.abs_diff(3_000) < 320), "{given:?}");
    }
}
