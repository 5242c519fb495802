//! How many SETs of how many connections: worked out from what is asked for and what the limit of open files allows. Pure.

use super::validate::connections_per_set_allowed;
use super::{Descriptors, Host, Settings};
use crate::limits;

/// The kernel deals connections over the SETs' listeners by a hash, so that SETs of n connections on average differ by the square root of
/// n. Room for so many of these deviations leaves one SET in three million without a place for somebody.
pub const SPREAD_DEVIATIONS: u32 = 5;

/// Places that each of `sets` SETs needs, so that `connections` over all of them find one.
pub fn places_for(connections: u32, sets: u32) -> u32 {
    let mean = connections.div_ceil(sets.max(1));
    if sets <= 1 { mean } else { (mean + SPREAD_DEVIATIONS * (mean.isqrt() + 1)).min(connections) }
}

/// SETs, and connections of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// SETs.
    pub sets: u32,
    /// Connections of one SET, at most.
    pub connections_per_set: u32,
}

impl Shape {
    /// What is not asked for follows: a SET a core, or as many more as the connections need. Where no number of SETs holds them, it is the
    /// shape that comes nearest, for the check to refuse.
    pub(super) fn work_out(asked: &Settings, host: &Host, descriptors: Descriptors) -> Self {
        let allowed = |sets| connections_per_set_allowed(host, descriptors, sets);
        let Some(connections) = asked.connections else {
            let sets = asked.sets.unwrap_or(host.cores.max(1));
            let most = (limits::CONNECTIONS_DEFAULT_MAX / sets.max(1)).max(1);
            return Self {
                sets,
                connections_per_set: asked.connections_per_set.unwrap_or(allowed(sets).clamp(1, most)),
            };
        };
        let sets = asked.sets.unwrap_or_else(|| {
            let room = |sets| asked.connections_per_set.unwrap_or(allowed(sets));
            Self::sets_for(connections.0, host.cores, room).unwrap_or(host.cores.max(1))
        });
        let places = places_for(connections.0, sets).max(1);
        Self { sets, connections_per_set: asked.connections_per_set.unwrap_or(places) }
    }

    /// The fewest SETs, a core each at least, that hold so many connections with `room` in each.
    fn sets_for(connections: u32, cores: u32, room: impl Fn(u32) -> u32) -> Option<u32> {
        (cores.max(1)..=limits::SETS_MAX).find(|sets| places_for(connections, *sets) <= room(*sets))
    }

    /// The shape that this host gives to so many connections, where there is one.
    pub(super) fn fitting(connections: u32, host: &Host, descriptors: Descriptors) -> Option<Self> {
        let room = |sets| connections_per_set_allowed(host, descriptors, sets);
        let sets = Self::sets_for(connections, host.cores, room)?;
        Some(Self { sets, connections_per_set: places_for(connections, sets) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Count};

    const HOST: Host = Host { cores: 2, nofile: 20_000, direct_descriptors: true };

    fn shape(settings: &Settings, host: &Host) -> Shape {
        Shape::work_out(settings, host, Descriptors::Auto)
    }

    fn asked(connections: u32) -> Settings {
        Settings { connections: Some(Count(connections)), ..Settings::default() }
    }

    #[test]
    fn a_million_is_as_many_sets_as_the_limit_of_open_files_demands() {
        let Shape { sets, connections_per_set } = shape(&asked(1_000_000), &HOST);
        assert_eq!((sets, connections_per_set), (52, 19_926));
        let large = Host { nofile: 2 << 20, ..HOST };
        let Shape { sets, connections_per_set } = shape(&asked(1_000_000), &large);
        assert_eq!((sets, connections_per_set), (2, 503_540), "few SETs where the limit is high");
        assert_eq!(shape(&asked(10_000), &Host { cores: 8, ..HOST }).sets, 8, "a SET a core at least");
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_follows() {
        let sets = Settings { sets: Some(60), ..asked(1_000_000) };
        assert_eq!(shape(&sets, &HOST), Shape { sets: 60, connections_per_set: 17_317 });
        let places = Settings { connections_per_set: Some(10_000), ..asked(100_000) };
        assert_eq!(shape(&places, &HOST), Shape { sets: 11, connections_per_set: 10_000 });
        let none = Settings { sets: Some(3), ..Settings::default() };
        assert_eq!(shape(&none, &HOST), Shape { sets: 3, connections_per_set: 19_936 });
    }

    #[test]
    fn every_shape_that_is_worked_out_fits_or_is_refused_with_a_number() {
        for connections in [1, 2, 1000, 19_936, 19_937, 200_000, 1_000_000, 5_000_000, u32::MAX] {
            for (nofile, direct_descriptors) in [(1024, true), (20_000, true), (20_000, false), (2 << 20, false)] {
                let host = Host { nofile, direct_descriptors, ..HOST };
                match Config::resolve(asked(connections), &host) {
                    Ok(config) => {
                        let places = u64::from(config.sets) * u64::from(config.connections_per_set);
                        assert!(places >= u64::from(connections), "{config:?}");
                    }
                    Err(failure) => assert!(failure.message.contains("RLIMIT_NOFILE"), "{failure}"),
                }
            }
        }
    }
}
