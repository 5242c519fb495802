//! A distribution of microseconds as reports hold it: the percentiles that people read, and the whole histogram, so that reports can be
//! added up. Percentiles of two machines cannot be averaged; their histograms can be added.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// Largest.
    pub max: u64,
    /// All of it: an HDR histogram, version 2, deflated, in base64, as HDR logs hold it.
    pub histogram: String,
}

impl Distribution {
    /// The whole histogram; `None` where the text is none.
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        decode(&self.histogram)
    }
}

impl From<&Histogram<u64>> for Distribution {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let mean = if histogram.is_empty() { 0.0 } else { (histogram.mean() * 10.0).round() / 10.0 };
        Self {
            count: histogram.len(),
            mean,
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
            histogram: encode(histogram),
        }
    }
}

/// A histogram as HDR logs hold it.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a vector takes all that is written");
    STANDARD.encode(bytes)
}

/// A histogram as [`encode`] wrote it; `None` where the text is something else.
pub fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_a_report() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).unwrap();
        (1..5_000u64).for_each(|us| histogram.record(us * us).unwrap());
        let text = serde_json::to_string(&Distribution::from(&histogram)).unwrap();
        let read: Distribution = serde_json::from_str(&text).unwrap();
        assert_eq!(read.histogram().unwrap(), histogram);
        assert_eq!((read.p99, read.max), (histogram.value_at_quantile(0.99), histogram.max()));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for text in ["", "x", "AAAA", "HISTFAAAAB542pNpmSzMwMDAxQABzFCaEUoz2X+AMAA="] {
            drop(decode(text));
        }
        assert!(decode("not base64!").is_none());
        assert!(decode("AAAA").is_none());
    }
}
