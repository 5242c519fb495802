//! The page's part about gifts; nothing where there were none.

use maud::{Markup, html};

use crate::gifts::report::GiftReport;
use crate::human;
use crate::report::Report;

/// What was sent and opened, how long it took, and the money, of each stage and of the whole.
pub(super) fn tables(report: &Report) -> Markup {
    let of_stages = report.stages.iter().filter_map(|stage| Some((stage.name.as_str(), stage.gifts.as_ref()?)));
    let mut rows: Vec<(&str, &GiftReport)> = of_stages.collect();
    if rows.len() != 1 {
        rows.extend(report.gifts.as_ref().map(|gifts| ("whole run", gifts)));
    }
    html! {
        @if !rows.is_empty() {
            h2 { "Gifts" }
            (counts(&rows))
            (times(&rows))
            (money(report))
        }
    }
}

fn counts(rows: &[(&str, &GiftReport)]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th {} th { "asked a second" } th { "granted a second" } th { "sent" } th { "granted" } th { "refused" }
                        th { "shares opened" } th { "gone or closed" } th { "repeated" } th { "errors" }
                    }
                }
                tbody {
                    @for (name, gifts) in rows {
                        @let requests = &gifts.requests;
                        tr {
                            th { (name) }
                            td { (human::exact(gifts.rate_target)) }
                            td { (human::plain(gifts.rate)) }
                            td { (human::exact(requests.sent)) }
                            td { (human::exact(requests.granted)) }
                            td { (human::exact(requests.refused)) }
                            td { (human::exact(requests.opened)) }
                            td { (human::exact(requests.closed)) }
                            td { (human::exact(requests.repeated)) }
                            td.bad[requests.errors() > 0] { (human::exact(requests.errors())) }
                        }
                    }
                }
            }
        }
    }
}

fn times(rows: &[(&str, &GiftReport)]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th {} th {} th { "p50" } th { "p90" } th { "p99" } th { "p99.9" } th { "longest" } } }
                tbody {
                    @for (name, gifts) in rows {
                        @for (what, of) in [("send", &gifts.send_us), ("notice", &gifts.notice_us), ("open", &gifts.open_us)] {
                            tr {
                                th { (name) }
                                td { (what) }
                                @for us in [of.p50, of.p90, of.p99, of.p99_9, of.max] {
                                    td { @if of.count == 0 { "–" } @else { (human::time(us as f64)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
        p.note {
            "Send: from the time a gift was due to the answer that it is sent. Notice: from the send to the notice on a recipient's "
            "connection. Open: from asking for a share to having it."
        }
    }
}

fn money(report: &Report) -> Markup {
    html! {
        @if let Some(audit) = &report.gift_audit {
            p.note {
                "Of " (human::exact(audit.sent_cents)) " cents in " (human::exact(audit.sent)) " gifts, "
                (human::exact(audit.opened_cents)) " were opened, " (human::exact(audit.pending_cents)) " wait, and "
                (human::exact(audit.over_cents)) " went back. " (human::exact(audit.told_again))
                " sends and opens were repeated and answered the same again."
            }
        }
    }
}
