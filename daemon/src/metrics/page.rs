//! The page at `/`: one document without anything from elsewhere, which reads `/metrics` as Prometheus does and draws it. It costs the
//! daemon a scrape every two seconds while somebody looks at it.

/// The document.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    include_str!("page/style.css"),
    include_str!("page/body.html"),
    include_str!("page/script.js"),
    include_str!("page/foot.html"),
);

/// What the browser may do with it: run what is in it, and ask this daemon.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;

    #[test]
    fn the_page_fetches_nothing_from_elsewhere() {
        for foreign in ["http://", "https://", "//cdn", "@import", "url("] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        assert!(PAGE.len() < 32 * 1024, "{} bytes", PAGE.len());
    }

    #[test]
    fn the_page_names_real_metrics_only() {
        let names = PAGE.split('"').filter(|word| word.starts_with("hongbao_") || word.starts_with("process_"));
        let mut count = 0;
        for name in names {
            assert!(catalogue::ALL.iter().any(|metric| metric.name == name), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }
}
