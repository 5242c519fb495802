//! The estimate as a table for people.

use std::fmt::Write as _;

use super::estimate::{Binding, Estimate};
use super::traffic::{Flow, Traffic};

impl Estimate {
    /// Several lines.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string does not fail.
        let _ = self.write_demand(&mut table).and_then(|()| self.write_servers(&mut table));
        table
    }

    fn write_demand(&self, to: &mut String) -> std::fmt::Result {
        let demand = &self.demand;
        writeln!(to, "The show at its peak")?;
        row(to, "users", &grouped(demand.users), "")?;
        row(to, "connected", &grouped(demand.connected), &percent(demand.connected / demand.users))?;
        row(to, "shakes a second", &grouped(self.qps_peak), "")?;
        if let Some(shakes) = demand.shakes_per_minute {
            row(to, "shakes in the busiest minute", &grouped(shakes), &format!("{} a second", grouped(shakes / 60.0)))?;
        }
        if let (Some(shakes), Some(hours), Some(average)) = (demand.shakes, demand.hours, self.qps_average) {
            let note = format!("in {hours} h: {} a second on average", grouped(average));
            row(to, "shakes in all", &grouped(shakes), &note)?;
        }
        row(to, "envelopes a second", &grouped(demand.envelopes_per_s), "")?;
        flows(to, &self.traffic)?;
        writeln!(to, "\nOne server, {} of its limits kept free", percent(self.limits.headroom))?;
        let usable = |usable: f64| format!("of which {} are used", grouped(usable));
        row(to, "connections measured", &grouped(self.limits.connections), &usable(self.limits.connections_usable()))?;
        row(to, "shakes a second measured", &grouped(self.limits.qps), &usable(self.limits.qps_usable()))
    }

    fn write_servers(&self, to: &mut String) -> std::fmt::Result {
        let (servers, each) = (&self.servers, &self.each);
        let binds = |which| if servers.binding == which { "binds" } else { "" };
        writeln!(to, "\nServers")?;
        row(to, "by connections", &grouped(servers.by_connections as f64), binds(Binding::Connections))?;
        row(to, "by shakes", &grouped(servers.by_qps as f64), binds(Binding::Qps))?;
        row(to, "needed", &grouped(servers.needed as f64), "")?;
        row(to, "spare", &grouped(servers.spare as f64), "")?;
        let verdict = match (self.suffices, servers.serving > servers.needed) {
            (false, _) => format!("TOO FEW: {} are needed", servers.needed + servers.spare),
            (true, true) => format!("{} more than needed", servers.serving - servers.needed),
            (true, false) => String::new(),
        };
        row(to, "in all", &grouped(servers.total as f64), &verdict)?;
        writeln!(to, "\nEach of the {} that serve", grouped(servers.serving as f64))?;
        let of_limit = |share: f64| format!("{} of its limit", percent(share));
        row(to, "connections", &grouped(each.connections), &of_limit(each.connections_of_limit))?;
        row(to, "shakes a second", &grouped(each.qps), &of_limit(each.qps_of_limit))?;
        row(to, "envelopes a second", &format!("{:.1}", each.envelopes_per_s), "")?;
        if let Some(envelopes) = each.envelopes {
            row(to, "envelopes in its seed files", &grouped(envelopes.ceil()), "")?;
        }
        flows(to, &each.traffic)?;
        let bytes = &self.shake_bytes;
        writeln!(
            to,
            "\nA shake is {} bytes in and {} out on the wire ({} out where it wins): frames, TCP, IPv4 and Ethernet, acknowledgements included.",
            bytes.inbound, bytes.none, bytes.envelope
        )
    }
}

fn row(to: &mut String, name: &str, value: &str, note: &str) -> std::fmt::Result {
    writeln!(to, "{}", format!("  {name:<30} {value:>16}  {note}").trim_end())
}

fn flows(to: &mut String, traffic: &Traffic) -> std::fmt::Result {
    let flow = |to: &mut String, name: &str, flow: &Flow| {
        row(to, name, &bits(flow.bits_per_s), &format!("{} packets a second", grouped(flow.packets_per_s)))
    };
    flow(to, "in", &traffic.inbound)?;
    flow(to, "out", &traffic.outbound)
}

fn bits(bits_per_s: f64) -> String {
    let (divisor, unit) = if bits_per_s >= 1e9 { (1e9, "Gbit/s") } else { (1e6, "Mbit/s") };
    format!("{:.1} {unit}", bits_per_s / divisor)
}

fn percent(share: f64) -> String {
    let percent = format!("{:.1}", share * 100.0);
    format!("{}%", percent.strip_suffix(".0").unwrap_or(&percent))
}

/// A whole number in groups of three digits, down to the lower one.
fn grouped(number: f64) -> String {
    // What is whole but for the last bits of a division is meant to be whole.
    let digits = ((number + 1e-6).floor() as u64).to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_from_the_right() {
        let numbers = [0.0, 999.0, 1_000.0, 23_333.33, 11e9, 83.999_999_999];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "23,333", "11,000,000,000", "84"]);
        assert_eq!([0.2, 0.333, 1.0].map(percent), ["20%", "33.3%", "100%"]);
        assert_eq!([35.1e6, 21.056e9].map(bits), ["35.1 Mbit/s", "21.1 Gbit/s"]);
    }
}
