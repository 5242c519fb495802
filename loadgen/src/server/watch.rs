//! Asks the daemon at the begin and at the end of what each stage measures, beside the load.

use super::{Asked, ServerError, Target, ask, between};
use crate::report::ServerReport;

/// See the module's text. Times are nanoseconds of the run's clock.
#[derive(Debug)]
pub struct Watch {
    target: Target,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    place: u32,
    begin_ns: u64,
    end_ns: u64,
    before: Option<Asked>,
    after: Option<Asked>,
}

impl Stage {
    fn asks(&mut self, target: &Target, now_ns: u64) {
        if self.before.is_none() && now_ns >= self.begin_ns {
            self.before = Some(ask(target));
        }
        if self.after.is_none() && now_ns >= self.end_ns {
            self.after = Some(ask(target));
        }
    }
}

impl Watch {
    /// Nothing to ask yet.
    pub fn new(target: Target) -> Self {
        Self { target, stages: Vec::new() }
    }

    /// The stage at this place of the report is going to be measured in this time. They come in order.
    pub fn expect(&mut self, place: u32, begin_ns: u64, end_ns: u64) {
        self.stages.push(Stage { place, begin_ns, end_ns, before: None, after: None });
    }

    /// What the last stage measures ends before its time.
    pub fn cut(&mut self, end_ns: u64) {
        if let Some(last) = self.stages.last_mut() {
            last.end_ns = last.end_ns.min(end_ns);
        }
    }

    /// Asks what is due; never waits.
    pub fn turn(&mut self, now_ns: u64) {
        for stage in &mut self.stages {
            stage.asks(&self.target, now_ns);
        }
    }

    /// What became of the stages that were over by then, by their places, once. Waits for answers that are still on their way, some seconds
    /// at most.
    pub fn take(&mut self, now_ns: u64) -> Vec<(u32, Result<ServerReport, ServerError>)> {
        self.turn(now_ns);
        let over = self.stages.extract_if(.., |stage| stage.after.is_some());
        let report = |stage: Stage| {
            let (before, after) = stage.before.zip(stage.after)?;
            let samples = before.finish().and_then(|before| Ok((before, after.finish()?)));
            Some((stage.place, samples.map(|(before, after)| between(&before, &after))))
        };
        over.filter_map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn each_stage_gets_what_lay_between_its_own_begin_and_end() {
        // When it is asked for the n-th time, the daemon has been shaken 100 n^2 times.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target: Target = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (tell, asked) = std::sync::mpsc::channel();
        let daemon = std::thread::spawn(move || {
            for number in 1..=4 {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                let text = format!("hongbao_set_shakes_total{{set=\"0\"}} {}\n", number * number * 100);
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).unwrap();
                tell.send(()).unwrap();
            }
        });
        let mut watch = Watch::new(target);
        watch.expect(0, 10, 20);
        watch.expect(2, 30, 40);
        watch.turn(0);
        for now_ns in [10, 20, 30] {
            watch.turn(now_ns);
            asked.recv_timeout(std::time::Duration::from_secs(30)).expect("one question each time");
        }
        watch.cut(35);
        let found: Vec<_> =
            watch.take(36).into_iter().map(|(place, report)| (place, report.unwrap().shakes_by_set)).collect();
        assert_eq!(found, [(0, vec![300]), (2, vec![700])]);
        assert!(watch.take(100).is_empty(), "told once");
        daemon.join().unwrap();
    }

    #[test]
    fn a_stage_that_never_ended_is_no_error() {
        let mut watch = Watch::new("127.0.0.1:1".parse().unwrap());
        watch.expect(0, 1_000, 2_000);
        assert!(watch.take(10).is_empty());
    }
}
